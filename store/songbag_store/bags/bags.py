"""`Bags`: bags of windows from a store, in whole NumPy batches; reading can start at any step."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.bags.lots import draw_songs, draw_windows, in_order, stretch_starts
from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.format.index import is_ascending
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.reader import FragmentReader, Pending
from songbag_store.windows.spans import Spans
from songbag_store.words import counted, did_you_mean

_AHEAD_BYTES = 64 << 20
_AHEAD_BATCHES = 8

_STRETCH_WINDOWS = 1024
"""The bag of a longer song is drawn from so many windows in a row (43 minutes by default), from others in each epoch.
Otherwise a recording of a day would be read as a whole for sixteen windows."""


@dataclasses.dataclass(frozen=True, slots=True)
class BagPlan:
    """The contents of one batch, before anything is read.

    Attributes
    ----------
    epoch, step : int
        Which batch it is, counted from 0.
    songs : int64, shape (B,)
        Positions in `Bags.song_ids`.
    first : int64, shape (B,)
        The window that the stretch of each song begins with.
    length : int64, shape (B,)
        The number of windows of each stretch.
    windows : int64, shape (B, K)
        Which windows of the stretch fill the bag.
    mask : float32, shape (B, K)
        1 for real windows, 0 for windows that are repeated because the song has too few.
    """

    epoch: int
    step: int
    songs: Ints
    first: Ints
    length: Ints
    windows: Ints
    mask: npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Bags of B songs.

    Attributes
    ----------
    windows : int16 or float32, shape (B, K, C, T)
        As stored; `songbag_store.format.array.decode` makes numbers from them.
    mask : float32, shape (B, K)
        1 for real windows, 0 for padding.
    labels : array, shape (B, ...), or None
        The labels of the songs.
    songs : int64, shape (B,)
        Positions in `Bags.song_ids`.
    epoch, step : int
        Which batch it is, counted from 0.
    """

    windows: StoredWindows
    mask: npt.NDArray[np.float32]
    labels: npt.NDArray[Any] | None
    songs: Ints
    epoch: int
    step: int


class Bags:
    """Bags of a fixed number of windows of each song, in batches; made by `SongStore.bags`.

    Each song comes once an epoch, or as often as `rates` says. A batch is a pure function of the songs, `seed`, epoch
    and step. So reading can start at any step, and to go on later only epoch and step are needed. If a song has fewer
    windows than the bag, its windows are repeated and the repeated ones are masked; zeros would spoil batch
    normalisation. If it has more, they are sampled without replacement, others in each epoch.

    Parameters
    ----------
    reader : FragmentReader
        Of the store.
    songs : pyarrow.Table
        Their rows of the index, in any order.
    labels : array, shape (songs, ...), optional
        A label for each row.
    bag_size : int
        K, windows of a song in a batch.
    batch_size : int
        The most songs in a batch; the batches of an epoch differ by at most one song. (With a batch size of 1 and
        a number of songs that the shards do not divide, some batches have 2, so that none is empty.)
    seed : int
        Another seed gives another order and other windows.
    shard : tuple of int
        ``(index, count)``: this is one of `count` hosts that share the songs of every step. Together they have every
        song of an epoch once, and all have the same number of steps.
    rates : array, shape (songs,), optional
        How often each song is to come in an epoch, on the average of many; in one epoch it comes as often as its rate
        says, rounded down or up, each time with other windows. An epoch has as many songs as the rates together say.
        By default each song comes once.
    ahead_bytes : int
        The most bytes of batches that are read ahead; a larger batch is read ahead alone.

    Attributes
    ----------
    song_ids : list of str
        All songs in order, also those of the other shards. The `songs` of a batch are positions in this list.
    labels : array or None
        The labels of these songs.

    Raises
    ------
    UsageError
        If there are no songs, fewer songs in an epoch than shards, a song twice, or another number of labels or rates.
    """

    def __init__(
        self,
        reader: FragmentReader,
        songs: pa.Table,
        labels: npt.ArrayLike | None = None,
        *,
        bag_size: int = 16,
        batch_size: int = 8,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        rates: npt.ArrayLike | None = None,
        ahead_bytes: int = _AHEAD_BYTES,
    ) -> None:
        self._rates = None if rates is None else _rates(rates, songs.num_rows)
        self._n_draws = songs.num_rows if self._rates is None else round(float(self._rates.sum()))
        _check(bag_size, batch_size, shard, self._n_draws)
        self.labels = None if labels is None else _labels(labels, songs.num_rows)
        if not is_ascending(songs["song_id"].combine_chunks()):
            order = pc.sort_indices(songs["song_id"])
            songs = songs.take(order)
            self.labels = None if self.labels is None else self.labels[order.to_numpy()]
            self._rates = None if self._rates is None else self._rates[order.to_numpy()]
            if not is_ascending(songs["song_id"].combine_chunks()):
                raise UsageError("a song is given more than once", place="bags", remedy="Give every song once.")
        self.song_ids: list[str] = songs["song_id"].to_pylist()
        self.bag_size = bag_size
        self.batch_size = batch_size
        self.seed = seed
        self.shard = shard
        self._reader = reader
        self._ahead_bytes = ahead_bytes
        fragments = songs["fragment"].combine_chunks().dictionary_encode()
        self._names: list[str] = fragments.dictionary.to_pylist()
        self._fragments = fragments.indices.to_numpy()
        self._row_starts = songs["row_start"].to_numpy()
        self._n_windows = songs["n_windows"].to_numpy().astype(np.int64)
        self._order: tuple[int, Ints] | None = None

    @property
    def n_steps(self) -> int:
        """The number of batches in an epoch, the same for every shard."""
        count = self.shard[1]
        return min(math.ceil(self._n_draws / (self.batch_size * count)), self._n_draws // count)

    def plan(self, epoch: int, step: int) -> BagPlan:
        """Return the contents of a batch; nothing is read.

        Parameters
        ----------
        epoch, step : int
            Counted from 0; `step` below `n_steps`.
        """
        if not 0 <= step < self.n_steps:
            raise IndexError(f"step {step} of {self.n_steps}")
        draws = self._draws_of(epoch, step)
        songs = draws % len(self.song_ids)
        n_windows = self._n_windows[songs]
        longest = max(_STRETCH_WINDOWS, self.bag_size)
        first = stretch_starts(draws, n_windows, longest, seed=self.seed, epoch=epoch)
        length = np.minimum(n_windows, longest)
        windows = draw_windows(draws, length, self.bag_size, seed=self.seed, epoch=epoch)
        mask = (np.arange(self.bag_size)[None, :] < length[:, None]).astype(np.float32)
        return BagPlan(epoch, step, songs, first, length, windows, mask)

    def _draws_of(self, epoch: int, step: int) -> Ints:
        """Return the draws of songs of a step: this shard's cut of the step's cut of the epoch's order."""
        order = self._order
        if order is None or order[0] != epoch:
            every = np.arange(len(self.song_ids))
            draws = every if self._rates is None else draw_songs(self._rates, seed=self.seed, epoch=epoch)
            self._order = order = epoch, in_order(draws, seed=self.seed, epoch=epoch)
        return _cut(_cut(order[1], step, self.n_steps), *self.shard)

    def plans(self, start: tuple[int, int] = (0, 0), stop_epoch: int | None = None) -> Iterator[BagPlan]:
        """Yield the plans from (epoch, step) to the end of the epoch before `stop_epoch`, or for ever."""
        epoch, step = start
        while stop_epoch is None or epoch < stop_epoch:
            for one in range(step, self.n_steps):
                yield self.plan(epoch, one)
            epoch, step = epoch + 1, 0

    def batch(self, epoch: int, step: int) -> Batch:
        """Read one batch; see `plan`."""
        plan = self.plan(epoch, step)
        return self._finish(plan, self._begin(plan))

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from the first on, without an end; see `batches`."""
        return self.batches()

    def batches(self, start: tuple[int, int] = (0, 0), *, stop_epoch: int | None = None) -> Iterator[Batch]:
        """Yield batches, and read ahead: at most eight batches and `ahead_bytes`.

        Parameters
        ----------
        start : tuple of int
            Epoch and step of the first batch.
        stop_epoch : int, optional
            The first epoch that is not read; by default there is no end.

        Raises
        ------
        songbag_store.errors.DamagedStore
            If windows are missing or not what was written.
        """
        under_way: deque[tuple[BagPlan, Pending]] = deque()
        ahead = 0
        for plan in self.plans(start, stop_epoch):
            while under_way and (len(under_way) == _AHEAD_BATCHES or ahead + self._n_bytes(plan) > self._ahead_bytes):
                ahead -= self._n_bytes(under_way[0][0])
                yield self._finish(*under_way.popleft())
            under_way.append((plan, self._begin(plan)))
            ahead += self._n_bytes(plan)
        while under_way:
            yield self._finish(*under_way.popleft())

    def _n_bytes(self, plan: BagPlan) -> int:
        return plan.windows.size * self._reader.spec.window_bytes

    def _spans(self, plan: BagPlan) -> Spans:
        """Return where the windows of a batch's songs are."""
        song_ids = [self.song_ids[song] for song in plan.songs.tolist()]
        fragments = [self._names[name] for name in self._fragments[plan.songs].tolist()]
        return Spans(song_ids, fragments, self._row_starts[plan.songs] + plan.first, plan.length)

    def _begin(self, plan: BagPlan) -> Pending:
        """Start all reads of a batch at once."""
        return self._reader.read_bags(self._spans(plan), plan.windows)

    def _finish(self, plan: BagPlan, pending: Pending) -> Batch:
        labels = None if self.labels is None else self.labels[plan.songs]
        return Batch(pending.result(), plan.mask, labels, plan.songs, plan.epoch, plan.step)


def _check(bag_size: int, batch_size: int, shard: tuple[int, int], n_songs: int) -> None:
    for name, size in (("bag_size", bag_size), ("batch_size", batch_size)):
        whole_number(size, name, 1)
    index, count = shard
    if not 0 <= index < count:
        raise UsageError(f"there is no shard {index} of {count}", place="bags", remedy="Count the hosts from 0.")
    if n_songs < count:
        too_few = f"{counted(n_songs, 'song is', 'songs are')} too few for {count} shards"
        what = "there are no songs" if count == 1 else too_few
        raise UsageError(what, place="bags")


def _labels(labels: npt.ArrayLike, n_songs: int) -> npt.NDArray[Any]:
    array = np.asarray(labels)
    if array.shape[:1] != (n_songs,):
        n_labels = array.shape[0] if array.ndim else 1
        raise UsageError(f"{counted(n_songs, 'song')} and {counted(n_labels, 'label')} do not make bags", place="bags")
    return array


def _rates(rates: npt.ArrayLike, n_songs: int) -> npt.NDArray[np.float64]:
    """Return rates whose sum is a whole number."""
    array = np.asarray(rates, np.float64)
    if array.shape != (n_songs,):
        raise UsageError(f"{counted(n_songs, 'song')} and {counted(array.size, 'rate')} do not make bags", place="bags")
    total = float(array.sum())
    if not np.isfinite(total) or total < 0.5 or array.min() < 0:
        what = "rates say how often songs come in an epoch: none may be below 0, and together they are at least 1"
        raise UsageError(what, place="bags")
    return array * (round(total) / total)


def column_labels(songs: pa.Table, column: str) -> npt.NDArray[Any]:
    """Return the labels of songs from a column of the index.

    Raises
    ------
    UsageError
        If there is no such column, or a song has no value in it.
    """
    if column not in songs.column_names:
        remedy = f"There are: {', '.join(songs.column_names[:30])}."
        remedy = f"{did_you_mean(column, songs.column_names)} {remedy}".strip()
        raise UsageError(f"the index has no column {column!r}", place="bags", remedy=remedy)
    if n_without := songs[column].null_count:
        what, them = counted(n_without, "song has", "songs have"), "it" if n_without == 1 else "these songs"
        raise UsageError(f"{what} no {column!r}", place="bags", remedy=f"Leave {them} out.")
    return np.array(songs[column].to_pylist())


def _cut(songs: Ints, index: int, count: int) -> Ints:
    """Return one of `count` cuts of nearly equal length."""
    return songs[index * len(songs) // count : (index + 1) * len(songs) // count]
