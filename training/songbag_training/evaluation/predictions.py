"""The columns of predictions, and the table of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import FeatureSpec
from songbag_store.sql.output import TableWriter, writing_table
from songbag_training.evaluation.score import SongScore, window_times


def probability_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns: unique as the classes are, and like no other column's."""
    return [f"p_{name}" for name in classes]


def probability_columns(classes: Sequence[str], probabilities: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
    """Return one column a class of probabilities, shape (n, n_classes)."""
    return {name: pa.array(probabilities[:, i]) for i, name in enumerate(probability_names(classes))}


class WindowsWriter:
    """Writes the windows of songs; see `writing_windows`."""

    def __init__(self, writer: TableWriter, spec: FeatureSpec, classes: Sequence[str]) -> None:
        self._writer = writer
        self._spec = spec
        self._classes = classes

    def add(self, score: SongScore) -> None:
        """Add all windows of one song."""
        n_windows = len(score.weights)
        starts, ends = window_times(n_windows, self._spec)
        columns = {
            "song_id": pa.repeat(score.song_id, n_windows),
            "window": pa.array(np.arange(n_windows, dtype=np.int32)),
            "start_s": pa.array(starts),
            "end_s": pa.array(ends),
            "weight": pa.array(score.weights),
        }
        self._writer.add(pa.table(columns | probability_columns(self._classes, score.window_probabilities)))


@contextmanager
def writing_windows(path: Path, spec: FeatureSpec, classes: Sequence[str]) -> Iterator[WindowsWriter]:
    """Write windows as a whole or not at all: song_id, window, start_s, end_s, weight, p_<class>...

    The weights of a song sum to 1. Memory holds 100,000 windows and one song, whatever the number of songs.
    """
    own = [("song_id", pa.string()), ("window", pa.int32()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    shares = [(name, pa.float64()) for name in ("weight", *probability_names(classes))]
    with writing_table(path, pa.schema([*own, *shares])) as writer:
        yield WindowsWriter(writer, spec, classes)
