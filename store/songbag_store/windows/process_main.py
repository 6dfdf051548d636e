"""The program of a `songbag_store.windows.process.ReadingProcess`: fill bags for each job, and answer with a byte."""

from __future__ import annotations

import json
import mmap
import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from songbag_store.child import serve
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.folder import LocalStorage
from songbag_store.windows.process import DONE, FAILED
from songbag_store.windows.reader import FragmentReader
from songbag_store.windows.shards import MappedShard
from songbag_store.windows.spans import Spans


def main() -> None:
    """Serve until the process that asks is gone. Arguments are folder, spec and the descriptor of the file of bags."""
    channel, (folder, spec_text, memory_file) = serve()
    # Training comes first: bags are read in its pauses.
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        os.nice(10)
    spec = FeatureSpec.from_dict(json.loads(spec_text))
    reader = FragmentReader(LocalStorage(Path(folder)), spec, file_shard=MappedShard)
    requests, memory = Connection(channel.detach()), mmap.mmap(int(memory_file), 0)
    os.write(requests.fileno(), DONE)
    while True:
        try:
            place, fragments, numbers = requests.recv()
        except (EOFError, ConnectionResetError):
            return
        row_starts, n_windows, windows = numbers[:, 0], numbers[:, 1], numbers[:, 2:]
        bags = np.ndarray((*windows.shape, *spec.window_shape), spec.encoding, memory, place)
        answer = DONE
        try:
            # Ids are only for messages, which are not shown here. So the names of fragments take their place.
            reader.fill_bags(Spans(fragments, fragments, row_starts, n_windows), windows, bags)
        except Exception:  # the asking process reads it again and reports the error
            answer = FAILED
        os.write(requests.fileno(), answer)


if __name__ == "__main__":
    main()
