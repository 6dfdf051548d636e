"""The labels of windows, by the segments of their songs, as targets of a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from songbag_store import FeatureSpec
from songbag_store.format.index import SEGMENTS, SEGMENTS_TYPE
from songbag_store.sql.window_labels import SHARE_DIGITS
from songbag_training.evaluation.window_metrics import WindowMetrics
from songbag_training.songs.task import Task
from songbag_training.types import Floats, Ints, Label, Metrics, Targets

LABELLED = (SEGMENTS, "duration_s")
"""Columns of the index that say which windows are labelled."""

LEAST_SHARE = 0.5
"""A window is of a label if segments of it cover at least this share of the window."""


class LabelledWindows:
    """The metrics of the windows that segments of their songs label, by subset.

    Parameters
    ----------
    task : Task
    spec : FeatureSpec
        Says where windows are.
    songs : pyarrow.Table
        Rows of the index with the columns of `LABELLED`; without `segments`, no window is labelled.
    """

    def __init__(self, task: Task, spec: FeatureSpec, songs: pa.Table) -> None:
        self._task, self._spec, self._songs = task, spec, songs
        position = songs.schema.get_field_index(SEGMENTS)
        self._has_any = position >= 0 and songs.schema.field(position).type.equals(SEGMENTS_TYPE)
        self._of: dict[str, WindowMetrics] = {}

    def add(self, row: int, subset: str, probabilities: Floats) -> None:
        """Add the windows of the song of a row; probabilities are of shape (N, n_classes)."""
        segments = self._songs[SEGMENTS][row].as_py() if self._has_any else None
        if segments is None:
            return
        duration_s = self._songs["duration_s"][row].as_py()
        shares = window_shares(segments, len(probabilities), duration_s, self._spec)
        rows, targets = window_targets(self._task, shares, len(probabilities))
        if len(rows):
            self._of.setdefault(subset, WindowMetrics(self._task)).add(targets, probabilities[rows])

    def metrics(self, subset: str) -> dict[str, Metrics]:
        """Return the metrics of a subset as `window_labels`; nothing if no window of it is labelled."""
        return {"window_labels": self._of[subset].metrics()} if subset in self._of else {}


def window_shares(
    segments: Sequence[Mapping[str, Any]], n_windows: int, duration_s: float | None, spec: FeatureSpec
) -> dict[str, Floats]:
    """Return for each label of a song the share of each window that it covers, shape (N,); as the view `window_labels`.

    Parameters
    ----------
    segments : sequence of mapping
        With `start_s`, `end_s` and `label`.
    n_windows : int
        Windows of the song.
    duration_s : float or None
        Of the song, which may be shorter than a window.
    """
    window_s = spec.window_samples / spec.sample_rate_hz
    starts = np.arange(n_windows) * (spec.window_hop_samples / spec.sample_rate_hz)
    length_s = min(window_s, duration_s or window_s) if n_windows == 1 else window_s
    shares: dict[str, Floats] = defaultdict(lambda: np.zeros(n_windows))
    for segment in segments:
        common = np.minimum(segment["end_s"], starts + length_s) - np.maximum(segment["start_s"], starts)
        shares[segment["label"]] += np.maximum(common, 0.0) / length_s
    return {label: np.minimum(share.round(SHARE_DIGITS), 1.0) for label, share in shares.items()}


def window_targets(task: Task, shares: Mapping[str, Floats], n_windows: int) -> tuple[Ints, Targets]:
    """Return the windows of a song that can be judged, and their targets.

    If a song is of one class, a window is of the label that covers most of it; a window without one, of a class that
    the task does not have, or with two that cover the same share, is left out. If it may be of several, a window is of
    every class that covers enough of it, and every window can be judged.
    """
    names = list(shares)
    covered = np.array([shares[name] for name in names]).reshape(len(names), n_windows)
    if task.several:
        known_names = [(number, name) for number, name in enumerate(names) if name in task.classes]
        own: list[Label] = [
            tuple(name for number, name in known_names if column[number] >= LEAST_SHARE) for column in covered.T
        ]
        return np.arange(n_windows), task.encode(own)
    if not names:
        return np.arange(0), task.encode([])
    best = covered.max(axis=0)
    is_one = (covered == best).sum(axis=0) == 1
    known = np.array([name in task.classes for name in names])[covered.argmax(axis=0)]
    (rows,) = np.nonzero((best >= LEAST_SHARE) & is_one & known)
    return rows, task.encode([names[number] for number in covered.argmax(axis=0)[rows]])
