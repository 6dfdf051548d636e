"""`BagDataset`: bags of windows with their labels, as a `tf.data.Dataset`."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.bags.bags import Bags, Batch
from songbag_store.format.index import PLACE_COLUMNS

if TYPE_CHECKING:
    import tensorflow as tf


_NOTHING_AHEAD: tuple[tuple[int, int], Iterator[Batch]] = (-1, -1), iter(())


class BagDataset(Bags):
    """Batches of bags, with a fixed number of windows of each song, and the songs' labels.

    A batch is a pure function of the songs, `seed`, epoch and step, so reading can start at any step: see `Bags`. Each
    song comes once an epoch, or as often as `rates` says.

    A batch has ``windows``, shape (B, K, C, T), and ``mask``, shape (B, K), float32: 1 for windows, 0 for repeated
    ones, which fill the bag of a song with too few. B counts songs, K windows, C bands or coefficients, T frames. A
    window lasts ``store.spec.window_s`` seconds (5 by default); the next begins ``window_hop_s`` seconds later. Values
    are as stored, by ``store.spec.encoding``: int16 in steps of ``store.spec.step`` of the features' own unit (1/16 dB
    for MFCC and log-mel), or float32 in that unit. `song_model` takes them as they are; for other networks,
    multiply them, as float32, by ``store.spec.step``. A batch takes
    ``B * K * store.spec.window_bytes`` bytes: 32 songs with 16 windows of (13, 216) as int16 take 2.9 MB. Up to eight
    batches are read ahead, of 64 MiB together at most.

    Parameters
    ----------
    store : SongStore
        Where the windows are.
    songs : sequence of str, or pyarrow.Table
        Song ids in any order, or rows of the index.
    labels : sequence of int, or array of shape (n, n_classes)
        Targets, see `songbag_training.songs.task.Task`: one class of each song, counted from 0, or 1 and 0 for each
        class that it has and has not. They come back as int32, shape (B,), or float32, shape (B, n_classes).
    bag_size : int
        K, number of windows of a song in a batch. A song with fewer is padded, one with more gives others each epoch.
    batch_size : int
        Largest B, in songs; the batches of an epoch differ by at most one song.
    seed : int
        Another seed gives another order and other windows.
    shard : tuple of int
        ``(index, count)``: number of this host, and how many hosts share the songs.
    rates : array, shape (n,), optional
        How often each song is to come in an epoch, on the average of many: see `songbag_training.songs.sampling`.

    Attributes
    ----------
    n_steps : int
        Batches in an epoch.
    failure : Exception or None
        Error that ended `dataset`.

    Raises
    ------
    songbag_store.errors.SongNotFound
        If the store's snapshot lacks the features of a song.
    songbag_store.errors.UsageError
        If songs and labels do not make bags.

    Examples
    --------
    >>> bags = BagDataset(store, ["a.mp3", "b.mp3", "c.mp3"], [0, 1, 0], bag_size=16, batch_size=2, seed=0)
    >>> bags.n_steps
    2
    >>> bags.batch(epoch=5, step=1).windows.shape
    (2, 16, 13, 216)
    """

    labels: npt.NDArray[Any]

    def __init__(
        self,
        store: SongStore,
        songs: Sequence[str] | pa.Table,
        labels: Sequence[int] | npt.NDArray[Any],
        *,
        bag_size: int = 16,
        batch_size: int = 8,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        rates: npt.ArrayLike | None = None,
    ) -> None:
        given: npt.NDArray[Any] = np.asarray(labels)
        super().__init__(
            store.inside.reader,
            songs if isinstance(songs, pa.Table) else store.songs(ids=songs, columns=PLACE_COLUMNS, arrow=True),
            given.astype(np.int32 if given.ndim == 1 else np.float32),
            bag_size=bag_size,
            batch_size=batch_size,
            seed=seed,
            shard=shard,
            rates=rates,
        )
        self.failure: Exception | None = None
        self._ahead = _NOTHING_AHEAD
        self._reading = threading.Lock()

    def dataset(self, start: tuple[int, int] = (0, 0), *, stop_epoch: int) -> tf.data.Dataset:
        """Return the batches in order, as a `tf.data.Dataset` of ``({"windows", "mask"}, labels)``.

        Its cardinality is known. If reading fails, TensorFlow raises an error of its own, and the original one is in
        `failure`.
        """
        import tensorflow as tf

        from songbag_training.compat import map_traced

        first, stop = start[0] * self.n_steps + start[1], stop_epoch * self.n_steps
        read, element = self._traced_read
        batches = map_traced(tf.data.Dataset.range(first, stop), read, [tf.constant(stop, tf.int64)], element)
        # The traced function does not keep these bags alive, so the dataset has to.
        batches.bags = self
        options = tf.data.Options()
        # There is nothing to tune, and every other epoch would wait 0.1 s for the tuner's thread at its end.
        options.autotune.enabled = False
        # There is nothing to rewrite either, and looking for it takes longer than the first batch.
        options.experimental_optimization.apply_default_optimizations = False
        return batches.prefetch(2).with_options(options)

    @cached_property
    def _traced_read(self) -> tuple[Any, Any]:
        """The function from the number of a batch, and the number to stop before, to the batch; and the batch's type.

        It is traced once for all epochs.
        """
        import tensorflow as tf

        spec = self._reader.spec
        element = (
            {
                "windows": tf.TensorSpec((None, self.bag_size, *spec.window_shape), spec.encoding),
                "mask": tf.TensorSpec((None, self.bag_size), tf.float32),
            },
            tf.TensorSpec((None, *self.labels.shape[1:]), self.labels.dtype),
        )

        # Weakly, because TensorFlow keeps the functions that a graph calls to the end of the process.
        weakly = weakref.WeakMethod(self._read)

        def read_batch(number: int, stop: int) -> tuple[npt.NDArray[Any], ...]:
            method = weakly()
            assert method is not None
            return method(number, stop)

        def read(number: Any, stop: Any) -> Any:
            # Python's lock is taken once for each element, so an element is a whole batch.
            kinds = tf.nest.flatten(element)
            arrays = tf.numpy_function(read_batch, (number, stop), [kind.dtype for kind in kinds])
            shaped = [tf.ensure_shape(array, kind.shape) for array, kind in zip(arrays, kinds, strict=True)]
            return tf.nest.pack_sequence_as(element, shaped)

        number = tf.TensorSpec((), tf.int64)
        return tf.function(read, autograph=False).get_concrete_function(number, number), element

    def _read(self, number: int, stop: int) -> tuple[npt.NDArray[Any], ...]:
        """Return mask, windows and labels of a batch, counted over all epochs, while the next ones are being read."""
        with self._reading:
            (expected, batches), self._ahead = self._ahead, _NOTHING_AHEAD
            try:
                if expected != (number, stop):
                    batches = self.batches(divmod(int(number), self.n_steps), stop_epoch=int(stop) // self.n_steps)
                batch = next(batches)
                self._ahead = (number + 1, stop), batches
            except Exception as error:
                self.failure = error
                raise
        # TensorFlow flattens a dict in the order of its keys: "mask" comes before "windows".
        return batch.mask, batch.windows, self.labels[batch.songs]
