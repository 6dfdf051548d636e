"""Runs commands of songbag one after the other in one process, as loading their libraries takes seconds.

``python -m tests.support.commands_process`` reads a list of commands as JSON, and prints for each its exit code, its
output and what it wrote to standard error. What is said outside of them, as at the end of the process, stays there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile

from songbag_store.cli.root import main


def run(words: list[str]) -> tuple[object, str, str]:
    """Return exit code, output and standard error of a command."""
    sys.argv = ["songbag", *words]
    code: object = None
    output, before = io.StringIO(), os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            with contextlib.redirect_stdout(output):
                main()
        except SystemExit as end:
            code = end.code
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        return code, output.getvalue(), said.read().decode()


if __name__ == "__main__":
    print(json.dumps([run(words) for words in json.load(sys.stdin)]))
