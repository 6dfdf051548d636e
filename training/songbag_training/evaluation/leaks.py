"""What metrics are worth when some of the judged songs may be known from training: the same metrics without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from songbag_store.words import counted
from songbag_training.evaluation.metrics import song_metrics
from songbag_training.songs.task import Task
from songbag_training.splits.notes import COPIES
from songbag_training.types import Bools, Floats, Ints, Targets

SUSPECTED = "suspected_leaks"
"""Field of the metrics of some songs: a list, as `without_suspects` returns it; absent if nothing is suspected."""

_NAMED = 20


def without_suspects(
    task: Task,
    true: Targets,
    probabilities: Floats,
    song_ids: Sequence[str],
    suspects: Mapping[str, Ints],
    said: Bools | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of songs without those that may be known from training.

    Parameters
    ----------
    task, true, probabilities, said
        As `songbag_training.evaluation.metrics.song_metrics` takes them.
    song_ids : sequence of str
        The judged songs.
    suspects : mapping of str to int64 arrays
        Positions of suspected songs, by what is suspected: "are copies of songs in train or validation".

    Returns
    -------
    fields : dict
        Nothing, or the field `SUSPECTED`: for each suspicion ``what``, the number of songs ``n``, the first 20 of them
        ``song_ids``, and the metrics of the other songs ``without``.
    """
    found = []
    for what, rows in suspects.items():
        left = np.setdiff1d(np.arange(len(song_ids)), rows)
        named = [song_ids[row] for row in rows[:_NAMED].tolist()]
        without = song_metrics(task, true, probabilities, said, left)
        found.append({"what": what, "n": len(rows), "song_ids": named, "without": without})
    return {SUSPECTED: found} if found else {}


def in_words(what: str, others: str) -> str:
    """Return what `songbag_training.splits.notes.suspected` suspects, as text; `others` are the other subsets."""
    return f"are copies of songs in {others}" if what == COPIES else f"have a value of {what!r} that is in {others} too"


def leak_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each suspicion of the metrics of some songs: accuracy with and without the songs concerned."""
    lines = []
    for one in metrics.get(SUSPECTED, ()):
        said, left = f"accuracy {metrics['song']['accuracy']:.3f} with them", one["without"]
        if left["n"]:
            said += f", {left['accuracy']:.3f} without ({counted(left['n'], 'song')})"
        else:
            said += ", and no song is left without"
        lines.append(f"suspected leak: {one['n']:,} of {counted(metrics['song']['n'], 'song')} {one['what']}: {said}")
    return lines
