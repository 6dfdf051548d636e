"""What is predicted of a song, the columns of predictions, and the table of windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import FeatureSpec, SongStore
from songbag_training.models.turning import Turning
from songbag_training.songs.pieces import Piece
from songbag_training.songs.task import Task
from songbag_training.types import Floats

TURNS_TO = "turns_to"
"""Column of windows: the classes of the song's answer without the window, where that is another; else null."""


@dataclasses.dataclass(frozen=True, slots=True)
class SongScore:
    """Prediction for one song.

    Attributes
    ----------
    probabilities : float64, shape (n_classes,)
    window_probabilities : float64, shape (N, n_classes)
        Each is what networks say of a song of this window alone: the temperature of calibration counts here too.
    weights : float64, shape (N,)
        How much each window counted in the pooling; they sum to 1. N is 0 for a baseline, which looks at whole songs.
    of_learners : dict of str to float64 array, shape (n_classes,)
        The probabilities of each learner of a baseline, or of each of several members and of the trees beside them.
    turning : callable
        Returns the windows without which the answer is another, each with the classes of that answer; none where the
        pooling does not tell: see `songbag_training.models.turning`.
    """

    song_id: str
    probabilities: Floats
    window_probabilities: Floats
    weights: Floats
    of_learners: Mapping[str, Floats] = dataclasses.field(default_factory=dict)
    turning: Callable[[], Turning] = dict


class Scorer(Protocol):
    """What scores whole songs: the network of a run, or a baseline."""

    task: Task
    chunk_windows: int
    """Windows that a piece should have."""

    def score(self, pieces: Iterable[Piece]) -> Iterator[SongScore]:
        """Score songs one after the other; all pieces of a song come before those of the next."""

    def of_store(self, store: SongStore, songs: pa.Table) -> Iterator[SongScore]:
        """Score songs of a store, given as rows of its index, in their order."""


def probability_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns. The prefix keeps them different from all other columns."""
    return [f"p_{name}" for name in classes]


def probability_columns(classes: Sequence[str], probabilities: Floats) -> dict[str, pa.Array]:
    """Return probabilities, shape (n, n_classes), as one column for each class."""
    return dict(zip(probability_names(classes), map(pa.array, probabilities.T), strict=True))


def windows_schema(classes: Sequence[str]) -> pa.Schema:
    """Return the schema of a table of windows: song_id, window, start_s, end_s, weight, p_<class>..., `TURNS_TO`."""
    numbers = ("start_s", "end_s", "weight", *probability_names(classes))
    fields = [("song_id", pa.string()), ("window", pa.int32()), *((name, pa.float64()) for name in numbers)]
    return pa.schema([*fields, (TURNS_TO, pa.list_(pa.string()))])


def windows_table(score: SongScore, spec: FeatureSpec, classes: Sequence[str]) -> pa.Table:
    """Return the windows of a song as a table. Their weights sum to 1."""
    n_windows = len(score.weights)
    starts, ends = window_times(n_windows, spec)
    own = [pa.repeat(score.song_id, n_windows), np.arange(n_windows, dtype=np.int32), starts, ends, score.weights]
    others = pa.array(map(score.turning().get, range(n_windows)), pa.list_(pa.string()), size=n_windows)
    return pa.table([*own, *score.window_probabilities.T, others], schema=windows_schema(classes))


def turning_of(windows: npt.NDArray[np.int32], column: pa.ChunkedArray | pa.Array) -> Turning:
    """Return what the column `TURNS_TO` says of windows, given by their numbers."""
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False) if len(column) else [])
    return {int(windows[row]): tuple(column[int(row)].as_py()) for row in rows}


def window_times(n_windows: int, spec: FeatureSpec) -> tuple[Floats, Floats]:
    """Return start and end of each window of a song, in seconds, shape (N,)."""
    starts = np.arange(n_windows, dtype=np.float64) * (spec.window_hop_samples / spec.sample_rate_hz)
    return starts, starts + np.float64(spec.window_samples / spec.sample_rate_hz)
