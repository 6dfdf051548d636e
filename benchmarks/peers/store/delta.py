"""Delta Lake by delta-rs: a commit adds a Parquet file and a line of its log."""

from __future__ import annotations

from typing import Any

from deltalake import DeltaTable, write_deltalake

from benchmarks.peers.store.arrow_tables import ArrowTables
from benchmarks.peers.store.rows import read_arrow


class Delta(ArrowTables):
    def commit(self, number: int) -> None:
        write_deltalake(self.place, read_arrow(self.data / f"{number}.arrow"), mode="append")

    def open(self) -> int:
        return int(DeltaTable(self.place).count())

    def _columns(self, *names: str) -> Any:
        return DeltaTable(self.place).to_pyarrow_table(columns=list(names) or None)
