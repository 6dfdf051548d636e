"""Columns of predictions, and the table of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from songbag_store import FeatureSpec
from songbag_training.types import Floats

if TYPE_CHECKING:
    from songbag_training.evaluation.score import SongScore


def probability_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns. The prefix keeps them different from all other columns."""
    return [f"p_{name}" for name in classes]


def probability_columns(classes: Sequence[str], probabilities: Floats) -> dict[str, pa.Array]:
    """Return probabilities, shape (n, n_classes), as one column for each class."""
    return dict(zip(probability_names(classes), map(pa.array, probabilities.T), strict=True))


def windows_schema(classes: Sequence[str]) -> pa.Schema:
    """Return the schema of a table of windows: song_id, window, start_s, end_s, weight, p_<class>..."""
    numbers = ("start_s", "end_s", "weight", *probability_names(classes))
    return pa.schema([("song_id", pa.string()), ("window", pa.int32()), *((name, pa.float64()) for name in numbers)])


def windows_table(score: SongScore, spec: FeatureSpec, classes: Sequence[str]) -> pa.Table:
    """Return the windows of a song as a table. Their weights sum to 1."""
    from songbag_training.evaluation.score import window_times  # it loads Keras, which a page does not need

    n_windows = len(score.weights)
    starts, ends = window_times(n_windows, spec)
    own = [pa.repeat(score.song_id, n_windows), np.arange(n_windows, dtype=np.int32), starts, ends, score.weights]
    return pa.table([*own, *score.window_probabilities.T], schema=windows_schema(classes))
