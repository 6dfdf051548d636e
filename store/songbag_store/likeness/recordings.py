"""The recordings of a store, of which only the windows are read that a comparison needs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.likeness.alignment import HOPELESS, LEAST_FRAMES, Aligner, Changes, Passage, Peak, are_one
from songbag_store.store import SongStore
from songbag_store.windows.spans import Span

_PROBES = 8
"""Windows all over the longer song that are looked for in the other one."""
_STARTS = 3
"""How many of them are looked for everywhere; the others only where these were found."""
_LIVELY, _STRANGE = 56, 0.2
"""Frames of a window that are enough to tell strangers, and the correlation that they do not reach."""
_BLOCK_WINDOWS = 4
_BLOCK_BYTES = 4 << 20
_KEPT_BYTES = 128 << 20


class Recordings:
    """Compares songs of a store by their windows.

    Parameters
    ----------
    store : SongStore
        The store. Its songs are named by their rows in `store.inside.places`.
    """

    def __init__(self, store: SongStore) -> None:
        self._places, self._reader = store.inside.places, store.inside.reader
        self._aligner = Aligner(store.spec)
        self._block = max(1, min(_BLOCK_WINDOWS, _BLOCK_BYTES // store.spec.window_bytes))
        self._kept: OrderedDict[tuple[int, int], Changes] = OrderedDict()
        self._kept_bytes = 0

    def are_one(self, first: int, second: int) -> bool:
        """Return whether two songs are one recording.

        Raises
        ------
        DamagedStore
            If windows of one of them are not what was written.
        """
        (n_others, shorter), (n_windows, longer) = sorted(
            (self._span(song).n_windows, song) for song in (first, second)
        )
        probes = np.unique(np.linspace(0, n_windows - 1, min(n_windows, _PROBES)).round().astype(int)).tolist()
        peaks = self._peaks(longer, shorter, sorted(probes, key=lambda probe: abs(probe - n_windows // 2)))
        if not any(peak.correlation >= HOPELESS for peak in peaks):
            return False
        own = {probe: self._passage(longer, [probe]).changes for probe in probes}
        seen: list[float] = []
        for peak in peaks:
            # Windows that are found at the same shift are compared once.
            if peak.correlation < HOPELESS or any(abs(peak.shift - shift) < 1 for shift in seen):
                continue
            seen.append(peak.shift)
            around = {probe: self._aligner.around(probe, peak.shift, n_others) for probe in probes}
            there = {probe: self._passage(shorter, windows) for probe, windows in around.items()}
            if are_one([self._aligner.match(probe, own[probe], peak, there[probe]) for probe in probes]):
                return True
        return False

    def _peaks(self, song: int, other: int, probes: Sequence[int]) -> list[Peak]:
        """Return where the first few windows in which enough changes are found in another song, the best first."""
        n_windows, n_others = self._span(song).n_windows, self._span(other).n_windows
        step = max(1, int(self._aligner.n_frames / 2 / self._aligner.hop))
        peaks: list[Peak] = []
        for probe in probes:
            own = self._passage(song, [probe]).changes
            reach = self._aligner.reach(probe, n_windows, n_others)[::step]
            if not reach or own.live.sum() < LEAST_FRAMES:
                continue
            peaks.append(self._aligner.peak(probe, own, self._passage(other, reach)))
            # Most songs that are near are strangers, and a lively window shows that at once.
            if len(peaks) == _STARTS or (own.live.sum() >= _LIVELY and peaks[0].correlation < _STRANGE):
                break
        return sorted(peaks, key=lambda peak: -peak.correlation)

    def _span(self, song: int) -> Span:
        return Span(*(self._places[name][song].as_py() for name in PLACE_COLUMNS))

    def _passage(self, song: int, windows: Sequence[int]) -> Passage:
        """Return some windows of a song."""
        if not windows:
            return Passage(windows, Changes.none(), self._span(song).n_windows)
        values, live = [], []
        for window in windows:
            block, place = divmod(window, self._block)
            changes = self._changes(song, block)
            values.append(changes.values[place])
            live.append(changes.live[place])
        return Passage(windows, Changes(np.stack(values), np.stack(live)), self._span(song).n_windows)

    def _changes(self, song: int, block: int) -> Changes:
        """Return the changes in a block of windows, which are kept for the next comparison."""
        if (song, block) in self._kept:
            self._kept.move_to_end((song, block))
            return self._kept[song, block]
        span, start = self._span(song), block * self._block
        part = Span(span.song_id, span.fragment, span.row_start + start, min(self._block, span.n_windows - start))
        changes = self._aligner.changes(self._reader.read(part).result())
        self._kept[song, block] = changes
        self._kept_bytes += changes.values.nbytes
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].values.nbytes
        return changes
