"""Places of windows: rows of fragments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from songbag_store.types import Ints

if TYPE_CHECKING:
    import pyarrow as pa


class Span(NamedTuple):
    """The place of windows of one song: `n_windows` rows of a fragment from `row_start` on."""

    song_id: str
    fragment: str
    row_start: int
    n_windows: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Spans of several songs, as columns.

    Attributes
    ----------
    song_ids, fragments : list of str
    row_starts, n_windows : int64, shape (B,)
    """

    # An object for each song would take as long as handing over a whole batch.
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

    def __iter__(self) -> Iterator[Span]:
        return map(Span, self.song_ids, self.fragments, self.row_starts.tolist(), self.n_windows.tolist())

    def __getitem__(self, cut: slice) -> Spans:
        return Spans(self.song_ids[cut], self.fragments[cut], self.row_starts[cut], self.n_windows[cut])
