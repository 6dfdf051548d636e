"""What a training waits for: an epoch fed from a store, and a step of the reference network, beside what they avoid.

    python -m benchmarks.training [--songs 2000] [--rounds 7]

prints an epoch of the reference network (batches of 32 bags of 16 windows) fed from the store through `tf.data`, over
the same fed from tensors in memory in three ways, in trainings of several epochs; and a training step of each encoder
beside the same under XLA, in mixed precision and with several steps to an execution, and of the reference network
beside the same of Keras's own layers in `TimeDistributed`. It also prints for how much of the time batches were
waited for, and how many processes read because of that (docs/decisions/0031). Ratios are medians over rounds in which
the two take turns.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from benchmarks.stores import CLASSES, SPEC, music_windows, write_store
from songbag_store import SongStore
from songbag_training import BagDataset
from songbag_training.fit.devices import precision
from songbag_training.models.encoders import ENCODERS
from songbag_training.models.layers import FeatureScaling
from songbag_training.models.loss import SongLoss
from songbag_training.models.model import song_model
from songbag_training.models.poolings import MeanPooling
from songbag_training.models.reference import plain_reference
from songbag_training.songs.scaling import scaling_statistics
from songbag_training.songs.task import Task

BAG_SIZE = 16
BATCH_SIZE = 32
EPOCHS = 3
STEPS = 8
TASK = Task(tuple(map(str, range(CLASSES))))


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


def folded(
    store: SongStore, encoder: str = "reference", *, xla: bool = False, mixed: bool = False, at_once: int = 1
) -> keras.Model:
    """Return a network as songbag trains it, compiled; `at_once` is the steps of one execution."""
    with precision(mixed):
        model = song_model(SPEC, TASK, encoder=encoder, bag_size=BAG_SIZE, scaling=_statistics(store))
        optimizer = keras.optimizers.Adam()
        model.compile(optimizer, loss=SongLoss(TASK.softmax), jit_compile=xla, steps_per_execution=at_once)
    return model


def time_distributed(store: SongStore) -> keras.Model:
    """Return the reference network of Keras's own layers, one copy of it applied to each window, compiled."""
    scaling = FeatureScaling(name="scaling", dtype="float32")
    windows = keras.Input((BAG_SIZE, *SPEC.window_shape), dtype=SPEC.encoding, name="windows")
    mask = keras.Input((BAG_SIZE,), name="mask")
    scaled = scaling(windows)
    scaling.set_statistics(*_statistics(store))
    network = keras.Sequential([plain_reference(SPEC.n_bands, SPEC.n_frames), layers.Dense(CLASSES)])
    logits = layers.TimeDistributed(network)(layers.Reshape((BAG_SIZE, *SPEC.window_shape, 1))(scaled))
    song_logits, _ = MeanPooling()(logits, logits, mask)
    model = keras.Model({"windows": windows, "mask": mask}, song_logits)
    model.compile(keras.optimizers.Adam(), loss=SongLoss(TASK.softmax), jit_compile=False)
    return model


def _statistics(store: SongStore) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return scaling_statistics(store, store.songs(arrow=True)["song_id"])


def bags_of(store: SongStore) -> BagDataset:
    """Return the bags of a store's songs with the column `label`."""
    songs = store.songs(arrow=True).select(["song_id", "label"]).to_pydict()
    return BagDataset(store, songs["song_id"], songs["label"], bag_size=BAG_SIZE, batch_size=BATCH_SIZE)


def untuned() -> tf.data.Options:
    """Return the options of a dataset without tf.data's tuner, as `BagDataset` has it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def measure_epoch(store: SongStore, bags: BagDataset, rounds: int) -> None:
    """Print an epoch from the store over one from memory, all in another order each time."""
    model = folded(store)
    # By another reader: this one must meet the batches only as a training does.
    batches = list(bags_of(SongStore.open(store.address)).batches(stop_epoch=1))
    windows, mask = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("windows", "mask"))
    labels = np.concatenate([bags.labels[batch.songs] for batch in batches])
    del batches
    inputs, classes = {"windows": tf.constant(windows), "mask": tf.constant(mask)}, tf.constant(labels)
    shuffled = tf.data.Dataset.from_tensor_slices((inputs, classes)).shuffle(len(labels))
    held = shuffled.batch(BATCH_SIZE).repeat(EPOCHS)
    # As `songbag train` fits them: one call for all epochs.
    fit = partial(model.fit, epochs=EPOCHS, verbose=0)
    fed = partial(fit, steps_per_epoch=bags.n_steps, shuffle=False)
    starts = itertools.count(step=EPOCHS)

    def from_store() -> None:
        start = next(starts)
        fed(bags.dataset((start, 0), stop_epoch=start + EPOCHS))

    from_memory: dict[str, Callable[[], object]] = {
        "by fit itself": partial(fit, inputs, classes, batch_size=BATCH_SIZE),
        "by tf.data": partial(fed, held.prefetch(tf.data.AUTOTUNE)),
        "by tf.data, its tuner turned off": partial(fed, held.prefetch(2).with_options(untuned())),
    }
    for name, run in from_memory.items():
        streamed, kept, ratio = paired_ratio(from_store, run, rounds)
        times = f"from the store {streamed / EPOCHS:.2f} s, from memory {name} {kept / EPOCHS:.2f} s"
        print(f"epoch of {len(labels):,} songs: {times}, ratio {ratio:.3f}", flush=True)
    waited, n_processes = bags._reader._waiting.latest, len(bags._reader._processes)
    print(f"of that time the batches were waited for: {waited}; processes that read: {n_processes}", flush=True)


def measure_step(store: SongStore, bags: BagDataset, rounds: int) -> None:
    """Print steps of the reference network in `TimeDistributed`, and of both encoders in other ways, over songbag's."""
    batch = bags.batch(0, 0)
    element = ({"windows": batch.windows, "mask": batch.mask}, bags.labels[batch.songs])
    data = tf.data.Dataset.from_tensors(element).cache().repeat(STEPS)
    for encoder in ENCODERS:
        others = {
            "under XLA": folded(store, encoder, xla=True),
            "in mixed precision": folded(store, encoder, mixed=True),
            f"{STEPS} to an execution": folded(store, encoder, at_once=STEPS),
        }
        if encoder == "reference":
            others = {"in TimeDistributed": time_distributed(store), **others}
        own = folded(store, encoder)
        for name, other in others.items():
            slow, fast, ratio = paired_ratio(partial(steps, other, data), partial(steps, own, data), rounds)
            times = f"{1e3 * slow / STEPS:.1f} ms, songbag's {1e3 * fast / STEPS:.1f} ms, ratio {ratio:.2f}"
            print(f"step of the encoder {encoder}: {name} {times}", flush=True)


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
        bags = bags_of(store)
        measure_epoch(store, bags, arguments.rounds)
        measure_step(store, bags, arguments.rounds)


if __name__ == "__main__":
    main()
