"""The process in which a worker reads songs. A song may kill it; `songs.containment` starts it and talks to it.

It imports only what reading needs: no Zarr, no Arrow, no Dask.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import socket
import sys
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from songbag_pipeline.audio.recording import Excerpt
from songbag_pipeline.audio.tags import Tags, read_tags
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.facts import Reader, SongFacts, failures_of
from songbag_pipeline.songs.samples import read_samples
from songbag_store import FeatureSpec
from songbag_store.child import serve
from songbag_store.errors import SongbagError, StoreError
from songbag_store.plugin import said_by
from songbag_store.terminal import message_text
from songbag_store.types import StoredWindows
from songbag_store.windows.spill import write_windows

IDLE_S = 60.0
"""The process ends when no song comes for this long: its worker may have other work, or none."""
_PID = os.getpid()


def main() -> None:
    """Read songs until no more come."""
    channel, (entry, memory_bytes, spec) = serve()
    module, _, function = entry.partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    unfit = _prepared(spec)
    # Discard decoder output: songbag reports errors itself. Errors of the import above are still seen.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # Saves the garbage collector from looking through all imported modules again and again.
    gc.freeze()
    # A crash must not leave a core file of all this memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (present + int(memory_bytes),) * 2)
    messages = Connection(os.dup(channel.fileno()))
    _answer(messages, unfit)
    while messages.poll(IDLE_S):
        _, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not files:
            return
        path, wanted = json.loads(messages.recv_bytes())
        _answer(messages, _read(reader, path, wanted, files[0]))


def _prepared(spec: str) -> dict[str, object]:
    """Load what computes the features of a spec, before memory is limited; return why it cannot."""
    if not spec:
        return {}
    from songbag_pipeline.features.windower import prepare

    wanted = json.loads(spec)
    sys.path.extend(wanted["folders"])
    try:
        prepare(FeatureSpec.from_dict(wanted["spec"]))
    except SongbagError as error:
        return {"unfit": error.what}
    except Exception as error:  # a library may raise anything where numbers do not suit it
        return {"unfit": message_text(f"{type(error).__name__}: {' '.join(said_by(error).split())}")}
    return {}


def _answer(messages: Connection, document: dict[str, object]) -> None:
    _end_copies()
    messages.send_bytes(json.dumps(document).encode())


def _end_copies() -> None:
    """End this process if it is a fork that came back from an extractor: two would answer, and write windows twice."""
    if os.getpid() != _PID:
        os._exit(1)


def _write(file: int, windows: StoredWindows) -> None:
    _end_copies()
    write_windows(file, windows)


def _read(reader: Reader, path: str, wanted: dict[str, Any], file: int) -> dict[str, object]:
    sink = partial(_write, file)
    try:
        if "spec" in wanted:
            facts = reader(path, FeatureSpec.from_dict(wanted["spec"]), sink, Excerpt(**wanted["excerpt"]))
            facts.tags = _tags(path) if wanted["tags"] else {}
            return {"facts": facts.to_dict()}
        if "tags" in wanted:
            facts = SongFacts()
            with failures_of(facts):
                facts.tags = read_tags(path)
            return {"facts": facts.to_dict()}
        return {"facts": read_samples(path, wanted["sample_rate_hz"], Excerpt(**wanted["excerpt"]), sink).to_dict()}
    except StoreError as error:
        return {"what": error.what, "place": error.place, "remedy": error.remedy}
    except MemoryError:
        return {"failed": ["out-of-memory", "decoding took more memory than it may"]}
    finally:
        os.close(file)


def _tags(path: str) -> Tags:
    """Return the tags of a song that was read; why it failed is known already."""
    try:
        return read_tags(path)
    except SongError:
        return {}


if __name__ == "__main__":
    main()
