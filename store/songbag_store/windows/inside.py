"""`Inside`: the parts of an open store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.format.index import PLACE_COLUMNS, keep_rows
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage

if TYPE_CHECKING:
    from songbag_store.windows.cache import FragmentCache
    from songbag_store.windows.memory import ChunkMemory
    from songbag_store.windows.reader import FragmentReader

Names: TypeAlias = Sequence[str] | None
"""Names of columns or songs; None for all of them."""


@dataclasses.dataclass(frozen=True)
class Inside:
    """The parts of an open store, for songbag's own modules.

    Attributes
    ----------
    storage : Storage
        Holds the objects.
    uuid : str
        Identity of the store.
    spec : FeatureSpec
        How the features were computed.
    state : Snapshot
        The snapshot that is open.
    cache, memory
        Keep the shards and the chunks that were read.
    """

    storage: Storage
    uuid: str
    spec: FeatureSpec
    state: Snapshot
    cache: FragmentCache | None = None
    memory: ChunkMemory | None = None

    @cached_property
    def reader(self) -> FragmentReader:
        """Reads windows as stored."""
        from songbag_store.windows.reader import FragmentReader

        cached = None if self.cache is None else partial(self.cache.open, self.storage, self.uuid, self.spec)
        return FragmentReader(self.storage, self.spec, cached, self.memory)

    @cached_property
    def places(self) -> pa.Table:
        """Where the windows of every song are."""
        return self.songs(PLACE_COLUMNS)

    def songs(self, columns: Names = None) -> pa.Table:
        """Return the index rows of the songs that have features."""
        rows = self.state.index if columns is None else self.state.columns(list(dict.fromkeys([*columns, "status"])))
        songs = keep_rows(rows, pc.equal(rows["status"], "ok"))
        return songs if columns is None else songs.select(columns)
