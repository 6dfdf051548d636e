"""What formats that give Arrow tables have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pyarrow.compute as pc

from benchmarks.peers.store.rows import Store, arrow_digest, read_arrow


class ArrowTables(Store):
    def plan(self) -> int:
        songs = self._columns("song_id")["song_id"]
        wanted = read_arrow(self.data / "wanted.arrow")["song_id"]
        return int(pc.sum(pc.invert(pc.is_in(wanted, songs.combine_chunks()))).as_py())

    def query(self) -> int:
        rows = self._columns("genre", "song_id", "n_windows")
        return len(rows.group_by("genre").aggregate([("song_id", "count"), ("n_windows", "sum")]))

    def read(self) -> Any:
        return len(self._columns())

    def digest(self) -> str:
        return arrow_digest(self._columns())

    @abstractmethod
    def _columns(self, *names: str) -> Any:
        """Open the store and return some columns, or all."""
