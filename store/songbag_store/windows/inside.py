"""`Inside`: the parts of an open store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import UsageError
from songbag_store.format.index import PLACE_COLUMNS, keep_rows
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage
from songbag_store.words import did_you_mean

if TYPE_CHECKING:
    from songbag_store.windows.cache import FragmentCache
    from songbag_store.windows.memory import ChunkMemory
    from songbag_store.windows.reader import FragmentReader

Names: TypeAlias = Sequence[str] | None
"""Names of columns or songs; None for all of them."""


def given_texts(given: Iterable[object], place: str) -> list[str]:
    """Return names that a user gave in any form, such as an Arrow array or a column of pandas, as a list of texts.

    Raises
    ------
    UsageError
        If they are one text, which would be taken for its letters, or something else that holds no texts.
    """
    remedy = "Give a list of texts."
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise UsageError(f"is {given!r:.80} and no list", place=place, remedy=remedy)
    names = given.to_pylist() if isinstance(given, (pa.Array, pa.ChunkedArray)) else list(given)
    if wrong := [one for one in names if not isinstance(one, str)]:
        raise UsageError(f"{wrong[0]!r:.80} is no text", place=place, remedy=remedy)
    return [str(name) for name in names]


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

    def columns(self, given: Names) -> list[str] | None:
        """Return names of columns as a list; None for all of them.

        Raises
        ------
        UsageError
            If they are no list of texts, or the index has no such column.
        """
        if given is None:
            return None
        names, known = given_texts(given, "columns"), self.state.content.schema.names
        if unknown := [name for name in names if name not in known]:
            meant = did_you_mean(unknown[0], known) or f"There are: {', '.join(known[:30])}."
            raise UsageError(f"the index has no column {unknown[0]!r}", place="columns", remedy=meant)
        return names

    def songs(self, columns: Names = None) -> pa.Table:
        """Return the index rows of the songs that have features."""
        rows = self.state.index if columns is None else self.state.columns(list(dict.fromkeys([*columns, "status"])))
        songs = keep_rows(rows, pc.equal(rows["status"], "ok"))
        return songs if columns is None else songs.select(columns)
