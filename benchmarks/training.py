"""What a training waits for: an epoch fed from a store, and a step of the reference network, beside what they avoid.

    python -m benchmarks.training [--songs 2000] [--rounds 7]

prints an epoch of the reference network (batches of 32 bags of 16 windows) fed from the store through `tf.data`, over
the same fed from tensors in memory; and a training step of the network with its windows folded into the batch axis,
beside the same network in `TimeDistributed`, and beside itself under XLA. Ratios are medians over rounds in which the
two take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.stores import CLASSES, SPEC, music_windows, write_store
from songbag_store import SongStore
from songbag_training import BagDataset, window_model
from songbag_training.layers import FeatureScaling
from songbag_training.model import song_model
from songbag_training.scaling import scaling_statistics
from songbag_training.tasks import SongLoss

BAG_SIZE = 16
BATCH_SIZE = 32
STEPS = 8


def paired_ratio(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Return the median seconds of either and the median of the ratios first / second, round by round."""
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = [0.0, 0.0]
        # Which one begins changes, so that neither always meets the other's warm caches.
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            (first, second)[which]()
            pair[which] = time.perf_counter() - began
        if number:
            times.append((pair[0], pair[1]))
    firsts, seconds = zip(*times, strict=True)
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(firsts), statistics.median(seconds), ratio


def folded(store: SongStore, *, xla: bool = False) -> keras.Model:
    """Return the reference network as songbag trains it, compiled."""
    model = song_model(
        SPEC,
        CLASSES,
        encoder="reference",
        bag_size=BAG_SIZE,
        scaling=scaling_statistics(store, store.select_songs()["song_id"]),
    )
    model.compile(keras.optimizers.Adam(), loss=SongLoss(CLASSES), jit_compile=xla)
    return model


def time_distributed(store: SongStore) -> keras.Model:
    """Return the same network with one copy of it applied to each window, compiled."""
    scaling = FeatureScaling(name="scaling", dtype="float32")
    windows = keras.Input((BAG_SIZE, *SPEC.window_shape), dtype=SPEC.encoding, name="windows")
    mask = keras.Input((BAG_SIZE,), name="mask")
    scaled = scaling(windows)
    scaling.set_statistics(*scaling_statistics(store, store.select_songs()["song_id"]))
    network = window_model(SPEC.n_bands, SPEC.n_frames, CLASSES)
    logits = keras.layers.TimeDistributed(network)(keras.layers.Reshape((BAG_SIZE, *SPEC.window_shape, 1))(scaled))
    pooled = keras.layers.Dot(axes=1)([keras.layers.UnitNormalization(axis=1, name="shares")(mask), logits])
    model = keras.Model({"windows": windows, "mask": mask}, pooled)
    model.compile(keras.optimizers.Adam(), loss=SongLoss(CLASSES), jit_compile=False)
    return model


def measure_epoch(store: SongStore, bags: BagDataset, rounds: int) -> None:
    """Print an epoch from the store over one from memory."""
    model = folded(store)
    batches = list(bags.batches(stop_epoch=1))
    windows, mask = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("windows", "mask"))
    labels = np.concatenate([bags.labels[batch.songs] for batch in batches])
    held = tf.data.Dataset.from_tensor_slices(({"windows": windows, "mask": mask}, labels)).batch(BATCH_SIZE)
    held = held.prefetch(2)
    epoch = iter(range(1000))

    def from_store() -> None:
        number = next(epoch)
        model.fit(bags.dataset((number, 0), stop_epoch=number + 1), shuffle=False, verbose=0)

    streamed, kept, ratio = paired_ratio(from_store, lambda: model.fit(held, shuffle=False, verbose=0), rounds)
    print(
        f"epoch of {len(labels):,} songs: from the store {streamed:.2f} s, from memory {kept:.2f} s, ratio {ratio:.3f}"
    )


def measure_step(store: SongStore, bags: BagDataset, rounds: int) -> None:
    """Print steps in `TimeDistributed` and under XLA over one with folded windows."""
    batch = bags.batch(0, 0)
    element = ({"windows": batch.windows, "mask": batch.mask}, bags.labels[batch.songs])
    data = tf.data.Dataset.from_tensors(element).cache().repeat(STEPS)
    plain = folded(store)
    for name, other in (("in TimeDistributed", time_distributed(store)), ("under XLA", folded(store, xla=True))):
        slow, fast, ratio = paired_ratio(partial(steps, other, data), partial(steps, plain, data), rounds)
        print(f"step: {name} {1e3 * slow / STEPS:.0f} ms, folded {1e3 * fast / STEPS:.0f} ms, ratio {ratio:.2f}")


def steps(model: keras.Model, data: tf.data.Dataset) -> None:
    """Take some steps."""
    model.fit(data, shuffle=False, verbose=0)


def main() -> None:
    """Make the store, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--songs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="songbag-training-") as folder:
        store = write_store(Path(folder) / "store", music_windows(arguments.songs))
        songs = store.select_songs().select(["song_id", "label"]).to_pydict()
        bags = BagDataset(store, songs["song_id"], songs["label"], bag_size=BAG_SIZE, batch_size=BATCH_SIZE)
        measure_epoch(store, bags, arguments.rounds)
        measure_step(store, bags, arguments.rounds)


if __name__ == "__main__":
    main()
