"""`BagDataset`: bags of windows from a store, in whole batches, in an order that any step can be entered at."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.encoding import StoredWindows
from songbag_store.errors import SongNotFound
from songbag_store.fragments import FragmentReader, Pending, Span
from songbag_training.drawing import Ints, draw_windows, song_order, stretch_starts
from songbag_training.errors import ModelError

if TYPE_CHECKING:
    import tensorflow as tf

_READ_AHEAD_BATCHES = 3
_STRETCH_WINDOWS = 1024
"""Of a longer song, a bag is drawn from so many windows in a row (43 minutes by default), another stretch each epoch:
a day-long recording must not be read as a whole for sixteen windows."""


@dataclasses.dataclass(frozen=True, slots=True)
class BagPlan:
    """What one batch consists of, before anything is read.

    Attributes
    ----------
    songs : int64, shape (B,)
        Positions in `BagDataset.song_ids`.
    first : int64, shape (B,)
        First window that is read of each song.
    length : int64, shape (B,)
        How many are read, in a row.
    windows : int64, shape (B, K)
        Which of these fill the bag.
    mask : float32, shape (B, K)
        1 where a slot holds a window of its own, 0 where it repeats one for want of more.
    """

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
        As stored; `songbag_training.layers.FeatureScaling` turns them into normalised float32.
    mask : float32, shape (B, K)
        1 for real windows, 0 for padding.
    labels : int32, shape (B,), or float32, shape (B, n_classes)
    songs : int64, shape (B,)
        Positions in `BagDataset.song_ids`.
    """

    windows: StoredWindows
    mask: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    songs: Ints


class BagDataset:
    """Bags of a fixed number of windows of each song, in batches.

    Each song comes once an epoch. What a batch holds is a pure function of the songs, `seed`, epoch and step, so that
    any step can be entered directly, and nothing but (epoch, step) need be kept to go on later. A song with fewer
    windows than the bag has its windows repeated in the free slots, and those masked: zeros there would pollute batch
    normalisation. One with more is sampled without replacement, other windows in each epoch.

    Parameters
    ----------
    store : SongStore
        Where the windows are.
    song_ids : sequence of str
        The songs, in any order.
    labels : sequence of int, or array of shape (n, n_classes)
        Class of each song; of a multi-label task 1 for each class that a song is of, else 0.
    bag_size : int
        K, windows of a song in a batch.
    batch_size : int
        The most songs in a batch; the batches of an epoch differ by one song at most.
    seed : int
        Another seed gives another order and other windows.

    Raises
    ------
    songbag_store.errors.SongNotFound
        If the store's snapshot has no features of a song.

    Examples
    --------
    >>> bags = BagDataset(store, ["a.mp3", "b.mp3", "c.mp3"], [0, 1, 0], bag_size=16, batch_size=2, seed=0)
    >>> bags.n_steps
    2
    >>> bags.batch(epoch=5, step=1).windows.shape
    (1, 16, 13, 216)
    """

    def __init__(
        self,
        store: SongStore,
        song_ids: Sequence[str],
        labels: Sequence[int] | npt.NDArray[Any],
        *,
        bag_size: int = 16,
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        if len(song_ids) == 0 or len(song_ids) != len(labels) or len(set(song_ids)) != len(song_ids):
            what = (
                f"{len(song_ids)} song ids ({len(set(song_ids))} different) and {len(labels)} labels do not make bags"
            )
            raise ModelError(what, where="BagDataset", remedy="Give every song once, and one label for each.")
        if bag_size < 1 or batch_size < 1:
            raise ModelError("bag_size and batch_size must be at least 1", where="BagDataset")
        order = sorted(range(len(song_ids)), key=song_ids.__getitem__)
        self.song_ids = [song_ids[row] for row in order]
        own: npt.NDArray[Any] = np.asarray(labels)[order]
        self.labels: npt.NDArray[Any] = own.astype(np.int32 if own.ndim == 1 else np.float32)
        self.bag_size = bag_size
        self.batch_size = batch_size
        self.seed = seed
        self.failure: Exception | None = None
        self._spec = store.spec
        # tf.data reads in a thread of its own; `store.reader` belongs to whoever else uses the store.
        self._reader = FragmentReader(store.storage, store.spec)
        self._spans = store.spans(songs_by_id(store, self.song_ids))
        self._n_windows = np.array([span.n_windows for span in self._spans], np.int64)

    @property
    def n_steps(self) -> int:
        """Batches of an epoch."""
        return math.ceil(len(self.song_ids) / self.batch_size)

    def plan(self, epoch: int, step: int) -> BagPlan:
        """Return what a batch consists of; nothing is read.

        Parameters
        ----------
        epoch, step : int
            Counted from 0; `step` below `n_steps`.
        """
        if not 0 <= step < self.n_steps:
            raise IndexError(f"step {step} of {self.n_steps}")
        return self._plan(song_order(len(self.song_ids), seed=self.seed, epoch=epoch), epoch, step)

    def _plan(self, order: Ints, epoch: int, step: int) -> BagPlan:
        n_songs = len(self.song_ids)
        songs = order[step * n_songs // self.n_steps : (step + 1) * n_songs // self.n_steps]
        n_windows = self._n_windows[songs]
        longest = max(_STRETCH_WINDOWS, self.bag_size)
        first = stretch_starts(songs, n_windows, longest, seed=self.seed, epoch=epoch)
        length = np.minimum(n_windows, longest)
        windows = draw_windows(songs, length, self.bag_size, seed=self.seed, epoch=epoch)
        mask = (np.arange(self.bag_size)[None, :] < length[:, None]).astype(np.float32)
        return BagPlan(songs, first, length, windows, mask)

    def plans(self, start: tuple[int, int], stop_epoch: int) -> Iterator[BagPlan]:
        """Yield the plans from (epoch, step) to the end of the epoch before `stop_epoch`."""
        epoch, step = start
        while epoch < stop_epoch:
            order = song_order(len(self.song_ids), seed=self.seed, epoch=epoch)
            for one in range(step, self.n_steps):
                yield self._plan(order, epoch, one)
            epoch, step = epoch + 1, 0

    def batch(self, epoch: int, step: int) -> Batch:
        """Read one batch; see `plan`."""
        plan = self.plan(epoch, step)
        return self._finish(plan, self._begin(plan))

    def batches(self, start: tuple[int, int] = (0, 0), *, stop_epoch: int) -> Iterator[Batch]:
        """Yield batch after batch, with those to come already being read.

        Parameters
        ----------
        start : tuple of int
            Epoch and step of the first batch.
        stop_epoch : int
            The epoch before which to end.

        Raises
        ------
        songbag_store.errors.DamagedStore
            If windows are missing or not what was written.
        """
        under_way: deque[tuple[BagPlan, list[Pending]]] = deque()
        for plan in self.plans(start, stop_epoch):
            under_way.append((plan, self._begin(plan)))
            if len(under_way) > _READ_AHEAD_BATCHES:
                yield self._finish(*under_way.popleft())
        while under_way:
            yield self._finish(*under_way.popleft())

    def _begin(self, plan: BagPlan) -> list[Pending]:
        """Start all reads of a batch at once."""
        return [self._reader.read(span) for span in self._reads(plan)]

    def _finish(self, plan: BagPlan, pending: list[Pending]) -> Batch:
        spec = self._spec
        windows = np.empty((*plan.windows.shape, *spec.window_shape), spec.encoding)
        reads = zip(self._reads(plan), pending, plan.windows, windows, strict=True)
        for span, one, drawn, bag in reads:
            np.take(self._reader.collect(span, one), drawn, axis=0, out=bag)
        return Batch(windows, plan.mask, self.labels[plan.songs], plan.songs)

    def _reads(self, plan: BagPlan) -> list[Span]:
        ranges = zip(plan.songs.tolist(), plan.first.tolist(), plan.length.tolist(), strict=True)
        return [
            dataclasses.replace(self._spans[song], row_start=self._spans[song].row_start + first, n_windows=length)
            for song, first, length in ranges
        ]

    def dataset(self, start: tuple[int, int] = (0, 0), *, stop_epoch: int) -> tf.data.Dataset:
        """Return the batches as a `tf.data.Dataset` of ``({"windows", "mask"}, labels)``, one after the other.

        For ``fit(steps_per_epoch=bags.n_steps)``. TensorFlow wraps what goes wrong in reading into an error of its own;
        the error itself is then in `failure`.
        """
        import tensorflow as tf

        def elements() -> Iterator[tuple[dict[str, npt.NDArray[np.generic]], npt.NDArray[np.generic]]]:
            try:
                for batch in self.batches(start, stop_epoch=stop_epoch):
                    yield {"windows": batch.windows, "mask": batch.mask}, batch.labels
            except Exception as error:
                self.failure = error
                raise

        spec = self._spec
        signature = {
            "windows": tf.TensorSpec((None, self.bag_size, *spec.window_shape), spec.encoding),
            "mask": tf.TensorSpec((None, self.bag_size), "float32"),
        }
        labels = tf.TensorSpec((None, *self.labels.shape[1:]), self.labels.dtype)
        # from_generator holds the interpreter's lock per element, so an element is a whole batch.
        return tf.data.Dataset.from_generator(elements, output_signature=(signature, labels)).prefetch(2)


def songs_by_id(store: SongStore, song_ids: Sequence[str]) -> pa.Table:
    """Return the index rows of some songs, in the order given.

    Raises
    ------
    songbag_store.errors.SongNotFound
        If the store's snapshot has no features of one.
    """
    songs = store.select_songs()
    rows = pc.index_in(pa.array(song_ids, pa.string()), value_set=songs["song_id"].combine_chunks())
    if rows.null_count:
        raise SongNotFound(song_ids[rows.to_pylist().index(None)], store.location)
    return songs.take(rows)
