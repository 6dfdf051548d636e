"""What a song sounds like to the model over its seconds, in some hundred bytes.

Neighbouring windows are joined until a song has at most 64 points; probabilities and weights are kept in 255 steps.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from songbag_training.config import RunConfig, TrainConfig
from songbag_training.evaluation.predictions import TURNS_TO, probability_names, turning_of
from songbag_training.models.turning import TOLD, Turning
from songbag_training.pages.songs import ShownSong
from songbag_training.songs.task import Task
from songbag_training.types import Floats

MOST_BYTES = 7 * 10**6
"""All timelines of a page."""
_MOST_POINTS = 64
_MOST_TURNING, _MOST_CLASSES = 5, 8
_BATCH_NUMBERS = 2**20
_FACTS_BYTES = 400
_BASE = ("song_id", "start_s", "end_s", "weight")


def read_timelines(
    path: Path, songs: Sequence[ShownSong], task: Task, config: RunConfig, room_bytes: int
) -> dict[str, dict[str, Any]]:
    """Read the timelines of songs from `windows.parquet`, as many as there is room for.

    Returns
    -------
    timelines : dict
        Of each song: ``n`` points, ``begin`` and ``step`` of them in seconds, ``length`` of a window, the number of
        windows that a point joins, ``most`` the largest weight, and ``bytes``, in base64: for each followed class its
        probabilities in 255ths, then the weights in 255ths of the largest. If it can be told, also ``turns``: ``n``
        windows, left out one at a time, would change the answer, and ``first`` has the seconds of some of them, each
        with the numbers of the classes of the answer without it.
    """
    wanted, left = {}, room_bytes
    for song in songs:
        left -= (len(song.followed) + 1) * _MOST_POINTS * 4 // 3 + _FACTS_BYTES
        if left < 0:
            break
        wanted[song.song_id] = song.followed
    found = {}
    for song_id, pieces, turning in _windows_of(path, wanted.keys(), task.classes):
        rows = np.concatenate(pieces, axis=1)
        found[song_id] = _timeline(rows[[0, 1, 2, *(3 + number for number in wanted[song_id])]])
        if isinstance(config, TrainConfig) and config.pooling in TOLD and turning is not None:
            found[song_id]["turns"] = _turns(task, turning, rows)
    return found


def _turns(task: Task, turning: Turning, rows: Floats) -> dict[str, Any]:
    seconds = rows[:2].round(2).tolist()
    numbers = {name: number for number, name in enumerate(task.classes)}
    first = [
        [seconds[0][window], seconds[1][window], [numbers[name] for name in names[:_MOST_CLASSES]]]
        for window, names in itertools.islice(sorted(turning.items()), _MOST_TURNING)
    ]
    return {"n": len(turning), "first": first}


def _windows_of(
    path: Path, wanted: Collection[str], classes: Sequence[str]
) -> Iterator[tuple[str, list[Floats], Turning | None]]:
    """Yield the windows of each wanted song: arrays of start, end, weight and the probability of each class.

    With them come those that turn the answer; None in a file from before these were told.
    """
    names = probability_names(classes)
    current: str | None = None
    pieces, turning = list[Floats](), Turning()
    with pq.ParquetFile(path) as file:
        told = [TURNS_TO] if TURNS_TO in file.schema_arrow.names else []
        columns = [*_BASE, "window", *told, *names]
        for batch in file.iter_batches(max(64, _BATCH_NUMBERS // len(classes)), columns=columns):
            numbers = {name: batch[name].to_numpy(zero_copy_only=False) for name in (*_BASE[1:], *names)}
            for song_id, own in _stretches(batch["song_id"]):
                if song_id != current:
                    if pieces:
                        yield str(current), pieces, turning if told else None
                    current, pieces, turning = song_id, [], Turning()
                if song_id in wanted:
                    pieces.append(np.stack([numbers[name][own] for name in (*_BASE[1:], *names)]).astype(np.float64))
                    for name in told:
                        turning |= turning_of(batch["window"].to_numpy()[own], batch[name][own])
    if pieces:
        yield str(current), pieces, turning if told else None


def _stretches(column: pa.Array) -> Iterator[tuple[str, slice]]:
    """Yield the songs of a column, each with its rows, which lie together."""
    coded = column.dictionary_encode()
    numbers = coded.indices.to_numpy()
    ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    names, begin = coded.dictionary.to_pylist(), 0
    for end in ends:
        if end > begin:
            yield names[numbers[begin]], slice(begin, end)
        begin = end


def _timeline(rows: Floats) -> dict[str, Any]:
    starts, ends, weights, shares = rows[0], rows[1], np.nan_to_num(rows[2]), np.nan_to_num(rows[3:])
    n = len(starts)
    joined = -(-n // _MOST_POINTS)
    at = np.arange(0, n, joined)
    counts = np.diff(np.append(at, n))
    weights = np.add.reduceat(weights, at)
    shares = np.add.reduceat(shares, at, axis=1) / counts
    most = float(weights.max(initial=0.0))
    steps = np.concatenate([shares, weights[None] / (most or 1.0)])
    data = np.clip(steps * 255, 0, 255).round().astype(np.uint8).tobytes()
    hop = float(starts[1] - starts[0]) if n > 1 else float(ends[0] - starts[0])
    return {
        "n": len(at),
        "begin": round(float(starts[0]), 3),
        "step": round(hop * joined, 4),
        "end": round(float(ends[-1]), 3),
        "length": round(float(ends[0] - starts[0]) + hop * (joined - 1), 3),
        "joined": joined,
        "most": float(f"{most:.4g}"),
        "bytes": base64.b64encode(data).decode(),
    }
