"""Songs that are alike: near in their statistics, and one recording by their windows."""

from __future__ import annotations

import numpy as np

from songbag_store.format.spec import EMBEDDING, OWN, FeatureSpec
from songbag_store.likeness.alignment import LEAST_FRAMES, Aligner
from songbag_store.likeness.groups import Joined, groups_of
from songbag_store.likeness.neighbours import FARTHEST, MOST_NEAR, Nearness, near_pairs
from songbag_store.likeness.recordings import Recordings
from songbag_store.likeness.statistics import SongStatistics
from songbag_store.progress import Progress, stretch
from songbag_store.store import SongStore
from songbag_store.types import Ints
from songbag_store.words import counted

MOST_STRANGERS = 20_000
"""So many pairs may turn out to be strangers. Those that are then left are farther from each other than these."""
MANY_SONGS = 20_000
"""Among more songs, a sample says how near strangers are, so that only pairs are looked for that will be compared."""
SAMPLE = 1000
_LEAST_BANDS = 4
_ROUNDS = 5
_LINE_EVERY = 5000


def are_comparable(spec: FeatureSpec) -> bool:
    """Return whether windows of a recipe are compared: not own features, embeddings, nor few bands or frames."""
    return spec.kind not in (OWN, EMBEDDING) and spec.n_bands >= _LEAST_BANDS and Aligner(spec).n_frames >= LEAST_FRAMES


def find_alike(store: SongStore, songs: SongStatistics, links: Ints, progress: Progress) -> Ints:
    """Return links between songs that are alike, shape (links, 2).

    Parameters
    ----------
    store : SongStore
        The store; only windows of near songs are read.
    songs : SongStatistics
        All its songs.
    links : int64, shape (links, 2)
        Songs that are known to be copies. One of each such group is compared with others.
    progress : Progress
        Shows how many pairs are compared, and notes what was left out.
    """
    if not are_comparable(store.spec):
        why = "of own features" if store.spec.kind == OWN else "of too few bands or frames"
        progress.note(f"note: windows {why} are not compared; only equal songs are found")
        return links[:0]
    search = _Search(store, songs, Joined(groups_of(links, len(songs.song_ids))), progress)
    (telling,) = np.nonzero(songs.audio >= 0)
    if len(telling) < 2:
        return links[:0]
    asked: Ints | None = None
    for _ in range(_ROUNDS):
        before = len(search.found)
        crowded = search.look(telling, asked)
        # In a crowd of copies, the nearest are of one group soon; then it is the turn of the next nearest.
        if search.n_left or len(search.found) == before or not len(crowded):
            break
        asked = crowded
    if len(crowded):
        have = counted(len(crowded), "song has", "songs have")
        progress.note(f"note: {have} more close neighbours than the {MOST_NEAR} that are compared")
    if search.n_left:
        near = "of songs that are less near"
        pairs = counted(search.n_left, f"pair {near} was", f"pairs {near} were")
        progress.note(f"note: {pairs} not compared")
    elif search.farthest is not None:
        progress.note("note: songs that are less near than most strangers here were not compared")
    return np.array(search.found, np.int64).reshape(-1, 2)


class _Search:
    """A search for songs that are alike, in several rounds.

    Attributes
    ----------
    found : list of pairs of int
        Songs that are alike.
    n_left : int
        Near pairs that were not compared, because too many were strangers.
    farthest : tuple of float or None
        For each measure the distance from which on pairs are not looked for, if a sample was asked for it.
    """

    def __init__(self, store: SongStore, songs: SongStatistics, joined: Joined, progress: Progress) -> None:
        self._recordings, self._songs = Recordings(store), songs
        self._joined, self._progress = joined, progress
        self._strangers: set[tuple[int, int]] = set()
        self.found: list[tuple[int, int]] = []
        self.n_left = 0
        self.farthest: tuple[float, ...] | None = None

    def look(self, songs: Ints, asked: Ints | None) -> Ints:
        """Compare songs with their neighbours; return those with more close neighbours than were compared.

        Parameters
        ----------
        songs : int64, shape (n,)
            All songs that may be alike; one of each group is looked at.
        asked : int64, shape (songs,), optional
            Only neighbours of the groups of these.
        """
        groups = self._joined.groups()
        _, first = np.unique(groups[songs], return_index=True)
        looked_at = songs[np.sort(first)]
        wanted = np.arange(len(looked_at))
        if asked is not None:
            wanted = wanted[np.isin(groups[looked_at], groups[asked])]
        measures = [Nearness(points[looked_at]) for points in (self._songs.spectra, self._songs.shapes)]
        if len(looked_at) > MANY_SONGS and self.farthest is None:
            self.farthest = tuple(self._strangers_of_a_sample(measure, looked_at) for measure in measures)
        near = near_pairs(measures, self.farthest or [FARTHEST] * len(measures), wanted)
        self._compare(looked_at[near.pairs])
        return looked_at[near.crowded]

    def _strangers_of_a_sample(self, measure: Nearness, songs: Ints) -> float:
        """Return the distance within which all songs have about as many strangers as are compared.

        Copies are told from strangers, or many copies would make it too short for them.
        """
        asked = np.unique(np.linspace(0, len(songs) - 1, SAMPLE).round().astype(np.int64))
        distances, others = measure.nearest(asked, FARTHEST)
        # Both songs of a pair may be asked.
        most = 2 * MOST_STRANGERS * len(asked) / len(songs)
        n_strangers = 0
        for place in np.argsort(distances, axis=None, kind="stable").tolist():
            row, column = divmod(place, distances.shape[1])
            if not np.isfinite(distances[row, column]):
                break
            first, second = sorted((int(songs[asked[row]]), int(songs[others[row, column]])))
            n_strangers += first != second and self._are_strangers(first, second)
            if n_strangers >= most:
                return float(distances[row, column])
        return FARTHEST

    def _are_strangers(self, first: int, second: int) -> bool:
        """Compare two songs, unless that is known already."""
        # Parts of one file overlap, or repeat each other as music does.
        if 0 <= self._songs.files[first] == self._songs.files[second]:
            return False
        if (first, second) in self._strangers:
            return True
        if self._joined.are_joined(first, second):
            return False
        if self._recordings.are_one(first, second):
            self.found.append((first, second))
            self._joined.join(first, second)
            return False
        self._strangers.add((first, second))
        return True

    def _compare(self, pairs: Ints) -> None:
        """Compare pairs of songs, the nearest first, until too many are strangers."""
        with stretch(self._progress, len(pairs), "pairs of near songs"):
            for number, (first, second) in enumerate(pairs.tolist()):
                if len(self._strangers) >= MOST_STRANGERS:
                    self.n_left += len(pairs) - number
                    break
                self._are_strangers(first, second)
                state = (
                    f"{number + 1:,} of {counted(len(pairs), 'pair')} of near songs compared, {len(self.found):,} alike"
                )
                self._progress.advance(number + 1, state, state if (number + 1) % _LINE_EVERY == 0 else None)
