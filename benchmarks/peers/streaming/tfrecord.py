"""TFRecord with tf.data: int16 without compression, files interleaved, shuffled within a buffer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.peers.streaming.songs import BAG, BATCH, BUFFER, WINDOW, Batch, Streaming

_FILES = 8


class TfRecord(Streaming):
    _made: Any = None

    def write(self) -> None:
        for file, some in enumerate(np.array_split(np.arange(len(self.songs)), _FILES)):
            with tf.io.TFRecordWriter(str(self.folder / f"{file}.tfrecord")) as writer:
                for number in some:
                    windows = tf.train.BytesList(value=[self.songs.song(number).tobytes()])
                    features = {
                        "windows": tf.train.Feature(bytes_list=windows),
                        "number": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                    }
                    example = tf.train.Example(features=tf.train.Features(feature=features))
                    writer.write(example.SerializeToString())

    def begin(self, epoch: int) -> Iterator[Batch]:
        return _Elements(iter(self._dataset()))

    def state(self, batches: Any) -> Any:
        return tf.train.Checkpoint(iterator=batches.iterator).write(str(self.folder / "state" / "iterator"))

    def resume(self, state: Any) -> Iterator[Batch]:
        iterator = iter(self._dataset())
        tf.train.Checkpoint(iterator=iterator).read(state).assert_consumed()
        return _Elements(iterator)

    def _dataset(self) -> Any:
        if self._made is None:
            files = tf.data.Dataset.list_files(str(self.folder / "*.tfrecord"), shuffle=True)
            options = tf.data.Options()
            options.deterministic = False
            records = files.interleave(
                tf.data.TFRecordDataset, cycle_length=_FILES, num_parallel_calls=tf.data.AUTOTUNE
            )
            # Seeds as data: an iterator with another source of chance in it cannot be saved.
            songs = tf.data.Dataset.zip(records.shuffle(BUFFER), tf.data.Dataset.random().batch(2))
            bags = songs.map(_parsed, num_parallel_calls=tf.data.AUTOTUNE)
            self._made = bags.batch(BATCH).prefetch(tf.data.AUTOTUNE).with_options(options)
        return self._made


class _Elements:
    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def __iter__(self) -> _Elements:
        return self

    def __next__(self) -> Batch:
        numbers, windows = next(self.iterator)
        return numbers.numpy().tolist(), windows.numpy()


def _parsed(record: Any, seed: Any) -> Any:
    features = {"windows": tf.io.FixedLenFeature([], tf.string), "number": tf.io.FixedLenFeature([], tf.int64)}
    song = tf.io.parse_single_example(record, features)
    windows = tf.reshape(tf.io.decode_raw(song["windows"], tf.int16), (-1, *WINDOW))
    shuffled = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(windows)[0]), seed)
    chosen = tf.gather(windows, tf.sort(shuffled[:BAG]))
    padded = tf.pad(chosen, [[0, BAG - tf.shape(chosen)[0]], [0, 0], [0, 0]])
    return song["number"], tf.ensure_shape(padded, (BAG, *WINDOW))
