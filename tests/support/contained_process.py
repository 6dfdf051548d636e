"""A real worker that reads one song in its contained process until it is killed.

``python -m tests.support.contained_process SONG``; prints the number of the contained process once that reads the song.
"""

from __future__ import annotations

import sys
import threading
import time

from songbag_pipeline.songs.containment import ContainedReader, Containment
from songbag_store import FeatureSpec
from songbag_store.windows.spill import WindowSpill


def main(song: str) -> None:
    reader = ContainedReader(Containment(reader="tests.support.decoder_faults:read"))
    spill = WindowSpill(FeatureSpec(window_s=0.5, n_mels=40))
    threading.Thread(target=reader.read, args=(song, spill)).start()
    while not reader._has_waited:
        time.sleep(0.01)
    assert reader._child is not None
    print(reader._child.pid, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
