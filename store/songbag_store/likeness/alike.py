"""Songs that are alike: near in their statistics, and one recording by their windows."""

from __future__ import annotations

import numpy as np

from songbag_store.format.spec import OWN, FeatureSpec
from songbag_store.likeness.alignment import LEAST_FRAMES, Aligner
from songbag_store.likeness.groups import Joined, groups_of
from songbag_store.likeness.neighbours import MOST_NEAR, near_pairs
from songbag_store.likeness.recordings import Recordings
from songbag_store.likeness.statistics import SongStatistics
from songbag_store.progress import Progress, stretch
from songbag_store.store import SongStore
from songbag_store.types import Ints

MOST_STRANGERS = 20_000
"""So many pairs may turn out to be strangers. Those that are then left are farther from each other than these."""
_LEAST_BANDS = 4
_ROUNDS = 5
_LINE_EVERY = 5000


def are_comparable(spec: FeatureSpec) -> bool:
    """Return whether windows of a recipe are compared: not of own features, nor of few bands or frames."""
    return spec.kind != OWN and spec.n_bands >= _LEAST_BANDS and Aligner(spec).n_frames >= LEAST_FRAMES


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
    asked: Ints | None = None
    for _ in range(_ROUNDS):
        before = len(search.found)
        crowded = search.look(telling, asked)
        # In a crowd of copies, the nearest are of one group soon; then it is the turn of the next nearest.
        if search.n_left or len(search.found) == before or not len(crowded):
            break
        asked = crowded
    if len(crowded):
        progress.note(f"note: {len(crowded):,} songs have more close neighbours than the {MOST_NEAR} that are compared")
    if search.n_left:
        progress.note(f"note: {search.n_left:,} pairs of songs that are less near were not compared")
    return np.array(search.found, np.int64).reshape(-1, 2)


class _Search:
    """A search for songs that are alike, in several rounds.

    Attributes
    ----------
    found : list of pairs of int
        Songs that are alike.
    n_left : int
        Near pairs that were not compared, because too many were strangers.
    """

    def __init__(self, store: SongStore, songs: SongStatistics, joined: Joined, progress: Progress) -> None:
        self._recordings, self._songs = Recordings(store), songs
        self._joined, self._progress = joined, progress
        self._strangers: set[tuple[int, int]] = set()
        self.found: list[tuple[int, int]] = []
        self.n_left = 0

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
        measures = [self._songs.spectra[looked_at], self._songs.shapes[looked_at]]
        near = near_pairs(measures, wanted)
        self._compare(looked_at[near.pairs])
        return looked_at[near.crowded]

    def _compare(self, pairs: Ints) -> None:
        """Compare pairs of songs, the nearest first, until too many are strangers."""
        with stretch(self._progress, len(pairs), "pairs of near songs"):
            for number, (first, second) in enumerate(pairs.tolist()):
                if len(self._strangers) >= MOST_STRANGERS:
                    self.n_left += len(pairs) - number
                    break
                if (first, second) in self._strangers or self._joined.are_joined(first, second):
                    continue
                # Parts of one file overlap, or repeat each other as music does.
                if 0 <= self._songs.files[first] == self._songs.files[second]:
                    continue
                if self._recordings.are_one(first, second):
                    self.found.append((first, second))
                    self._joined.join(first, second)
                else:
                    self._strangers.add((first, second))
                state = f"{number + 1:,} of {len(pairs):,} pairs of near songs compared, {len(self.found):,} alike"
                self._progress.advance(number + 1, state, state if (number + 1) % _LINE_EVERY == 0 else None)
