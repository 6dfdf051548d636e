"""One contestant in a process of its own, in the Python environment of its group: calls come and answers go by pipe.

    python -m benchmarks.peers.serve MODULE:CLASS FOLDER OPTIONS

A call is a line of JSON on standard input, ``{"do": "epoch", "with": [3]}``: the method and its arguments. The answer
is a line of JSON: what the method returned, the seconds it took and the processor's seconds, or the error. A first
answer, to no call, says that the contestant is ready. What the libraries print goes to standard error. Nothing here
needs more than NumPy.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import processor_s


def main() -> None:
    """Answer until standard input ends."""
    os.setpgid(0, 0)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    place, folder, options = sys.argv[1:]
    module, name = place.split(":")
    contestant = None

    def answer(do: Callable[[], Any]) -> None:
        clock, processor = time.perf_counter(), processor_s()
        try:
            said = {"value": do()}
        except Exception as error:
            traceback.print_exc()
            said = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        took = {"wall_s": time.perf_counter() - clock, "processor_s": processor_s() - processor}
        print(json.dumps(said | took), file=answers, flush=True)

    def begin() -> None:
        nonlocal contestant
        contestant = getattr(importlib.import_module(module), name)(Path(folder), **json.loads(options))

    answer(begin)
    for line in sys.stdin:
        call = json.loads(line)
        answer(lambda call=call: getattr(contestant, call["do"])(*call["with"]))
    # Threads and workers of some libraries outlive a normal end.
    os._exit(0)


if __name__ == "__main__":
    main()
