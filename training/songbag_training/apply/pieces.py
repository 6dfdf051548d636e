"""The deciding pieces of a song: which of its seconds are cut out to be heard."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from songbag_training.apply.explanation import SongExplanation
from songbag_training.types import Bools, Floats

DECIDING_SHARE = 0.5
"""Windows are taken, those of most evidence first, until they have this share of all evidence for the class."""


@dataclasses.dataclass(frozen=True, slots=True)
class SongPiece:
    """Deciding windows of a song that overlap or touch.

    Attributes
    ----------
    start_s, end_s : float
        In the song.
    class_number : int
        The class that it decided.
    windows : tuple of int
        The windows, by number.
    weight : float
        The sum of their weights in the pooling.
    probability : float
        The mean of their probabilities of the class, by their weights.
    """

    start_s: float
    end_s: float
    class_number: int
    windows: tuple[int, ...]
    weight: float
    probability: float


def deciding_pieces(
    song: SongExplanation, classes: Sequence[int], seconds: float, duration_s: float | None = None
) -> list[SongPiece]:
    """Choose the deciding pieces of a song.

    For each class, the windows with most evidence are taken, until they have half of all evidence for it, or its share
    of the seconds is full; at least one. If there are more classes than windows fit into the seconds, the last classes
    have none.

    Parameters
    ----------
    song : SongExplanation
    classes : sequence of int
        Numbers of the classes, the most important first.
    seconds : float
        The most that all pieces last, if more than one window fits into it.
    duration_s : float, optional
        Length of the song: the last window may be longer, because it is padded.

    Returns
    -------
    pieces : list of SongPiece
        In the order of the classes, then of time.
    """
    window_s = float(song.ends_s[0] - song.starts_s[0])
    some = classes[: max(1, int(seconds / window_s))]
    pieces: list[SongPiece] = []
    for number in some:
        chosen = _chosen(song, song.evidence(number), seconds / len(some))
        pieces += [_piece(song, number, windows, duration_s) for windows in _joined(song, chosen)]
    return pieces


def left_out(song: SongExplanation, pieces: Sequence[SongPiece]) -> Bools:
    """Return the windows of each piece as booleans, shape (n_pieces, N)."""
    found = np.zeros((len(pieces), len(song.weights)), np.bool_)
    for row, piece in enumerate(pieces):
        found[row, list(piece.windows)] = True
    return found


def _chosen(song: SongExplanation, evidence: Floats, seconds: float) -> list[int]:
    """Return the windows of most evidence, in the order of time."""
    starts, ends = song.starts_s, song.ends_s
    enough, have, length = DECIDING_SHARE * float(evidence.sum()), 0.0, 0.0
    chosen: list[int] = []
    for window in np.argsort(-evidence, kind="stable").tolist():
        place = bisect_left(chosen, window)
        begin = max(starts[window], ends[chosen[place - 1]]) if place else starts[window]
        end = min(ends[window], starts[chosen[place]]) if place < len(chosen) else ends[window]
        length += max(0.0, float(end - begin))
        if chosen and length > seconds:
            break
        insort(chosen, window)
        have += float(evidence[window])
        if have >= enough:
            break
    return chosen


def _joined(song: SongExplanation, chosen: Sequence[int]) -> list[list[int]]:
    """Return windows that overlap or touch as one group."""
    groups: list[list[int]] = []
    for window in chosen:
        if groups and song.starts_s[window] <= song.ends_s[groups[-1][-1]]:
            groups[-1].append(window)
        else:
            groups.append([window])
    return groups


def _piece(song: SongExplanation, number: int, windows: list[int], duration_s: float | None) -> SongPiece:
    weights, shares = song.weights[windows], song.window_probabilities[windows, number]
    weight = float(weights.sum())
    probability = float(weights @ shares / weight) if weight > 0 else float(shares.mean())
    start, end = float(song.starts_s[windows[0]]), float(song.ends_s[windows[-1]])
    if duration_s is not None:
        end = max(min(end, duration_s), start)
    return SongPiece(start, end, number, tuple(windows), weight, probability)
