"""songbag's index: a commit writes a complete, sealed Parquet file."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.peers.store.rows import Store, arrow_digest, read_arrow
from songbag_store import FeatureSpec, SongStore
from songbag_store.format.index import REPLACES
from songbag_store.writer import commit_parts, open_for_writing

_PER_PART = 1000


class Songbag(Store):
    def commit(self, number: int) -> None:
        rows = read_arrow(self.data / f"{number}.arrow")
        rows = rows.append_column(REPLACES, pa.nulls(len(rows), pa.string()))
        parts = {}
        for first in range(0, len(rows), _PER_PART):
            name = hashlib.md5(f"{number} {first}".encode(), usedforsecurity=False).hexdigest()
            parts[name] = rows.slice(first, _PER_PART)
        commit_parts(open_for_writing(self.place, FeatureSpec()), parts)

    def open(self) -> int:
        return len(SongStore.open(self.place).index(["song_id"], arrow=True))

    def plan(self) -> int:
        songs = SongStore.open(self.place).index(["song_id"], arrow=True)["song_id"]
        wanted = read_arrow(self.data / "wanted.arrow")["song_id"]
        return int(pc.sum(pc.invert(pc.is_in(wanted, songs.combine_chunks()))).as_py())

    def query(self) -> int:
        asked = "select genre, count(*), sum(n_windows) from songs group by genre"
        return len(SongStore.open(self.place).sql(asked, arrow=True))

    def read(self) -> Any:
        return len(self._all())

    def digest(self) -> str:
        return arrow_digest(self._all())

    def _all(self) -> Any:
        return SongStore.open(self.place).index(arrow=True)
