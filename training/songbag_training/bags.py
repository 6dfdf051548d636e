"""`BagDataset`: the store's bags with a class for each song, as a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from songbag_store import SongStore
from songbag_store.bags import Bags
from songbag_store.index import PLACE_COLUMNS

if TYPE_CHECKING:
    import tensorflow as tf


class BagDataset(Bags):
    """Bags of a fixed number of windows of each song, in batches, in an order that any step can be entered at.

    What a batch holds is a pure function of the songs, `seed`, epoch and step: see `songbag_store.bags.Bags`, which
    this is with labels for every song.

    Parameters
    ----------
    store : SongStore
        Where the windows are.
    songs : sequence of str, or pyarrow.Table
        Song ids in any order, or their rows of the index.
    labels : sequence of int, or array of shape (n, n_classes)
        Class of each song; of a multi-label task 1 for each class that a song is of, else 0.
    bag_size : int
        K, windows of a song in a batch.
    batch_size : int
        The most songs in a batch; the batches of an epoch differ by one song at most.
    seed : int
        Another seed gives another order and other windows.
    shard : tuple of int
        ``(index, count)``: which of how many hosts this is that share the songs.

    Attributes
    ----------
    failure : Exception or None
        Why `dataset` broke off.

    Raises
    ------
    songbag_store.errors.SongNotFound
        If the store's snapshot has no features of a song.
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
    ) -> None:
        given: npt.NDArray[Any] = np.asarray(labels)
        super().__init__(
            store.reader,
            songs if isinstance(songs, pa.Table) else store.select_ids(songs, PLACE_COLUMNS),
            given.astype(np.int32 if given.ndim == 1 else np.float32),
            bag_size=bag_size,
            batch_size=batch_size,
            seed=seed,
            shard=shard,
        )
        self.failure: Exception | None = None

    def dataset(self, start: tuple[int, int] = (0, 0), *, stop_epoch: int) -> tf.data.Dataset:
        """Return the batches as a `tf.data.Dataset` of ``({"windows", "mask"}, labels)``, one after the other.

        It knows how many batches there are. TensorFlow wraps what goes wrong in reading into an error of its own; the
        error itself is then in `failure`.
        """
        import tensorflow as tf

        def elements() -> Iterator[tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]]:
            try:
                for batch in self.batches(start, stop_epoch=stop_epoch):
                    yield {"windows": batch.windows, "mask": batch.mask}, self.labels[batch.songs]
            except Exception as error:
                self.failure = error
                raise

        spec = self._reader.spec
        signature = {
            "windows": tf.TensorSpec((None, self.bag_size, *spec.window_shape), spec.encoding),
            "mask": tf.TensorSpec((None, self.bag_size), "float32"),
        }
        labels = tf.TensorSpec((None, *self.labels.shape[1:]), self.labels.dtype)
        # from_generator holds the interpreter's lock per element, so an element is a whole batch.
        made = tf.data.Dataset.from_generator(elements, output_signature=(signature, labels))
        n_batches = (stop_epoch - start[0]) * self.n_steps - start[1]
        options = tf.data.Options()
        # There is nothing to tune, and the end of an epoch would wait for the tuner's thread: 0.1 s in every other one.
        options.autotune.enabled = False
        return made.apply(tf.data.experimental.assert_cardinality(n_batches)).prefetch(2).with_options(options)
