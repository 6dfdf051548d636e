"""The contained place: a process that reads one song after the other for a worker, and may die of any of them.

Run as ``python -P -m songbag_pipeline.songs.contained`` by `songs.containment`, which says what it is told and
what it answers. It imports no more than reading needs: no Zarr, no Arrow, no Dask.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import select
import socket
from functools import lru_cache, partial

from songbag_pipeline.songs.facts import Reader, SongFacts
from songbag_store import FeatureSpec
from songbag_store.child import serve
from songbag_store.errors import StoreError
from songbag_store.windows.spill import write_windows

IDLE_S = 60.0
"""A process that is asked nothing for this long ends: its worker may have other work, or none."""

_REQUEST_BYTES = 1 << 16


def main() -> None:
    """Answer requests until there are no more."""
    channel, (entry, memory_bytes) = serve()
    module, _, function = entry.partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    # Discard what decoders print: songbag reports it itself. Until here an error may be seen.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # The collector need not look through what was imported again and again.
    gc.freeze()
    _limit(int(memory_bytes))
    _answer(channel, {})
    while request := _next_request(channel):
        _answer(channel, _read(reader, *request))


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + memory_bytes,) * 2)


def _next_request(channel: socket.socket) -> tuple[dict[str, str], int] | None:
    """Wait for a line of JSON and the descriptor of a file; None when there are no more, or none for a long time."""
    line, files = b"", [-1]
    while not line.endswith(b"\n"):
        if not select.select([channel], [], [], IDLE_S)[0]:
            return None
        piece, sent, _, _ = socket.recv_fds(channel, _REQUEST_BYTES, 1)
        if not piece:
            return None
        line += piece
        files += sent
    request: dict[str, str] = json.loads(line)
    return request, files[-1]


def _answer(channel: socket.socket, document: dict[str, object]) -> None:
    channel.sendall(json.dumps(document).encode() + b"\n")


def _read(reader: Reader, request: dict[str, str], file: int) -> dict[str, object]:
    try:
        facts: SongFacts = reader(request["path"], _spec(request["spec"]), partial(write_windows, file))
    except StoreError as error:
        return {"what": error.what, "place": error.place, "remedy": error.remedy}
    except MemoryError:
        return {"failed": ["out-of-memory", "decoding took more memory than it may"]}
    finally:
        os.close(file)
    return {"facts": facts.to_json()}


@lru_cache(maxsize=1)
def _spec(text: str) -> FeatureSpec:
    return FeatureSpec.from_dict(json.loads(text))


if __name__ == "__main__":
    main()
