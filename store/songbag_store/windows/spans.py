"""Where the windows of songs lie: rows of fragments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from songbag_store.types import Ints

if TYPE_CHECKING:
    import pyarrow as pa


class Span(NamedTuple):
    """Where windows of one song lie: `n_windows` rows of a fragment from `row_start` on."""

    song_id: str
    fragment: str
    row_start: int
    n_windows: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spans(Sequence[Span]):
    """Spans of several songs, column by column: an object for each would take as long as handing on a whole batch.

    Attributes
    ----------
    song_ids, fragments : list of str
    row_starts, n_windows : int64, shape (B,)
    """

    song_ids: list[str]
    fragments: list[str]
    row_starts: Ints
    n_windows: Ints

    @classmethod
    def of(cls, songs: pa.Table) -> Spans:
        """Return the spans of rows of the index."""
        names = (songs[name].to_pylist() for name in ("song_id", "fragment"))
        numbers = (songs[name].to_numpy().astype(np.int64, copy=False) for name in ("row_start", "n_windows"))
        return cls(*names, *numbers)

    def __len__(self) -> int:
        return len(self.fragments)

    @overload
    def __getitem__(self, place: int) -> Span: ...

    @overload
    def __getitem__(self, place: slice) -> Spans: ...

    def __getitem__(self, place: int | slice) -> Span | Spans:
        row_starts, n_windows = self.row_starts[place], self.n_windows[place]
        if isinstance(place, slice):
            return Spans(self.song_ids[place], self.fragments[place], row_starts, n_windows)
        return Span(self.song_ids[place], self.fragments[place], int(row_starts), int(n_windows))
