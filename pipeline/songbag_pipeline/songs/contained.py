"""The contained place: a process that reads one song after the other for a worker, and may die of any of them.

Run as ``python -P -m songbag_pipeline.songs.contained`` by `songs.containment`, which says what it is told and
what it answers. It imports no more than reading needs: no Zarr, no Arrow, no Dask.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
from functools import lru_cache

import numpy as np

from songbag_pipeline.songs.facts import Reader, SongFacts
from songbag_store import FeatureSpec
from songbag_store.errors import StoreError, no_temporary_room
from songbag_store.types import StoredWindows

IDLE_S = 60.0
"""A process that is asked nothing for this long leaves: its worker may have other work, or none."""

_REQUEST_BYTES = 1 << 16


def main(entry: str, memory_bytes: int, windows_file: int, lifeline: int) -> None:
    """Answer requests on standard input until there are no more.

    Parameters
    ----------
    entry : str
        The reader of songs, as ``module:function``.
    memory_bytes : int
        Memory it may take beyond what the process has when all is imported.
    windows_file : int
        Descriptor of the file for the windows of one song.
    lifeline : int
        Descriptor of a pipe whose other end the worker holds: when that closes, this process is killed.
    """
    _die_with(lifeline)
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    module, _, function = entry.partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    # What decoders print about a file is nobody's: songbag reports it in its own way. Until here an error may be seen.
    os.dup2(nowhere, 2)
    # What is there by now stays: the collector need not look through it again and again.
    gc.freeze()
    _limit(memory_bytes)
    _answer(answers, {})
    while request := _next_request():
        _answer(answers, _read(reader, request, windows_file))


def _die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the worker is gone, even in the middle of a decoder's endless loop.

    Not PR_SET_PDEATHSIG: that follows the thread which started the process, and a worker's threads come and go.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + memory_bytes,) * 2)


def _next_request() -> dict[str, str] | None:
    """Wait for a line of JSON; None at the end of the input, or when none comes for a long time."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([0], [], [], IDLE_S)[0]:
            return None
        piece = os.read(0, _REQUEST_BYTES)
        if not piece:
            return None
        line += piece
    request: dict[str, str] = json.loads(line)
    return request


def _answer(answers: int, document: dict[str, object]) -> None:
    _write_all(answers, json.dumps(document).encode() + b"\n")


def _read(reader: Reader, request: dict[str, str], windows_file: int) -> dict[str, object]:
    os.lseek(windows_file, 0, os.SEEK_SET)
    os.ftruncate(windows_file, 0)

    def keep(windows: StoredWindows) -> None:
        try:
            _write_all(windows_file, np.ascontiguousarray(windows).tobytes())
        except OSError as error:
            raise no_temporary_room("the windows of a song", error) from error

    try:
        facts: SongFacts = reader(request["path"], _spec(request["spec"]), keep)
    except StoreError as error:
        return {"what": error.what, "place": error.place, "remedy": error.remedy}
    except MemoryError:
        return {"failed": ["out-of-memory", "decoding took more memory than it may"]}
    return {"facts": facts.to_json()}


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


@lru_cache(maxsize=1)
def _spec(text: str) -> FeatureSpec:
    return FeatureSpec.from_dict(json.loads(text))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
