"""Lance: a commit adds a file of its own format and a manifest."""

from __future__ import annotations

from typing import Any

import lance

from benchmarks.peers.store.arrow_tables import ArrowTables
from benchmarks.peers.store.rows import read_arrow


class Lance(ArrowTables):
    def commit(self, number: int) -> None:
        lance.write_dataset(
            read_arrow(self.data / f"{number}.arrow"), self.place, mode="append" if number else "create"
        )

    def open(self) -> int:
        return int(lance.dataset(self.place).count_rows())

    def _columns(self, *names: str) -> Any:
        return lance.dataset(self.place).to_table(columns=list(names) or None)
