"""Delta Lake by delta-rs: a commit adds a Parquet file and a line of its log."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from benchmarks.peers.store.rows import Store, arrow_digest, read_arrow


class Delta(Store):
    def commit(self, number: int) -> None:
        write_deltalake(self.place, read_arrow(self.data / f"{number}.arrow"), mode="append")

    def open(self) -> int:
        return int(DeltaTable(self.place).count())

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
        return DeltaTable(self.place).to_pyarrow_table(columns=list(names) or None)
