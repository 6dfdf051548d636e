"""Starts the processes of `tests.support.network` by forking: ``python -m tests.support.network_process MODULE ...``.

Loads the modules, then answers a line of JSON for each line of JSON: ``{"start": [namespace, log, module, argument
...]}`` with the number of a process, ``{"code_of": number}`` with its exit code, or null while it runs.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback

from tests.support.network import enter_namespace


def start(namespace: str, log: str, module: str, *arguments: str) -> int:
    """Fork a process that enters a namespace and runs a module as a command."""
    if process := os.fork():
        return process
    code = 1
    try:
        os.setsid()
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), said, said)):
            os.dup2(file, number)
        enter_namespace(namespace)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def code_of(process: int) -> int | None:
    """Return the exit code of a process, or None while it runs."""
    ended, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    for line in sys.stdin:
        (name, given), *_ = json.loads(line).items()
        print(json.dumps(start(*given) if name == "start" else code_of(given)), flush=True)


if __name__ == "__main__":
    main()
