"""Lance: a commit adds a file of its own format and a manifest."""

from __future__ import annotations

from typing import Any

import lance
import pyarrow.compute as pc

from benchmarks.peers.store.rows import Store, arrow_digest, read_arrow


class Lance(Store):
    def commit(self, number: int) -> None:
        lance.write_dataset(
            read_arrow(self.data / f"{number}.arrow"), self.place, mode="append" if number else "create"
        )

    def open(self) -> int:
        return int(lance.dataset(self.place).count_rows())

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

    def _columns(self, *names: str) -> Any:
        return lance.dataset(self.place).to_table(columns=list(names) or None)
