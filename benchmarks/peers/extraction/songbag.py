"""songbag extract, the command."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.peers.extraction.songs import WORKERS, Extraction
from songbag_store import SongStore


class Songbag(Extraction):
    def extract(self, songs: str, out: str) -> None:
        code = "import sys; from songbag_store.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "extract", songs, f"{out}/store", "--workers", str(WORKERS)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def stored(self, out: str) -> int:
        return len(SongStore.open(f"{out}/store").songs(columns=["song_id"], arrow=True))
