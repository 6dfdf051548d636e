"""What a GPU makes of a training: epochs from the store beside epochs from memory, and how long the GPU is busy.

    python -m benchmarks.gpu [--songs 4096] [--minutes 8]

prints a row for each encoder, batches of 32 and 256 songs, with and without mixed precision, with and without XLA: an
epoch of bags of 16 windows from the store, the same from tensors in memory, and the share of time in which the GPU ran
anything while it was fed from the store, as nvidia-smi tells it. What does not fit into the minutes is left out, and
named. Without a GPU that TensorFlow sees, it says so and ends.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.stores import SPEC, music_windows, write_store
from benchmarks.training import BAG_SIZE, TASK, untuned
from songbag_store import SongStore
from songbag_training import BagDataset
from songbag_training.fit.devices import precision
from songbag_training.models.loss import SongLoss
from songbag_training.models.model import song_model
from songbag_training.songs.scaling import scaling_statistics

BATCH_SIZES = (32, 256)
_DIFFERENT = 256
_LOOK_MS = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One way to train."""

    encoder: str
    batch_size: int
    mixed: bool
    xla: bool

    def __str__(self) -> str:
        words = [self.encoder, f"{self.batch_size} songs", "mixed" if self.mixed else "float32"]
        return " | ".join([*words, "XLA" if self.xla else ""])


@dataclasses.dataclass(frozen=True, slots=True)
class Epochs:
    """What one setting took."""

    store_s: float
    memory_s: float
    busy_share: float | None
    """Of the time of the epochs from the store; None where nothing tells it."""

    def __str__(self) -> str:
        busy = "not known" if self.busy_share is None else f"{self.busy_share:.0%}"
        return f"{self.store_s:.2f} s | {self.memory_s:.2f} s | {self.store_s / self.memory_s:.2f} | {busy}"


def settings() -> Iterator[Setting]:
    """Yield all settings."""
    for values in itertools.product(("reference", "compact"), BATCH_SIZES, (False, True), (False, True)):
        yield Setting(*values)


def measure(store: SongStore, setting: Setting, *, rounds: int = 3) -> Epochs:
    """Train some epochs from the store and from memory, in turns; the first of each is not counted.

    Parameters
    ----------
    store : SongStore
        With a column ``label``.
    setting : Setting
        How.
    rounds : int
        Epochs of each.
    """
    songs = store.songs(arrow=True).select(["song_id", "label"]).to_pydict()
    bags = BagDataset(store, songs["song_id"], songs["label"], bag_size=BAG_SIZE, batch_size=setting.batch_size)
    model = _model(store, setting)
    fed = partial(model.fit, steps_per_epoch=bags.n_steps, shuffle=False, verbose=0)
    kept = _in_memory(bags, setting.batch_size)
    busy = Busy()
    took: dict[str, list[float]] = {"store": [], "memory": []}
    for number in range(rounds + 1):
        for name in took:
            began = time.perf_counter()
            if name == "store":
                with busy.watched(number > 0):
                    fed(bags.dataset((number, 0), stop_epoch=number + 1))
            else:
                fed(kept)
            took[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in took.items()}
    return Epochs(medians["store"], medians["memory"], busy.share)


def _measured(store: SongStore, setting: Setting) -> str:
    """Return the row of a setting; one that cannot be compiled, or does not fit, does not end the others."""
    try:
        return str(measure(store, setting))
    except tf.errors.OpError as error:
        return f"fails: {type(error).__name__} | | |"


def _model(store: SongStore, setting: Setting) -> keras.Model:
    scaling = scaling_statistics(store, store.songs(arrow=True)["song_id"])
    with precision(setting.mixed):
        model = song_model(SPEC, TASK, encoder=setting.encoder, bag_size=BAG_SIZE, scaling=scaling)
        loss = SongLoss(TASK.softmax)
        model.compile(keras.optimizers.Adam(), loss=loss, jit_compile=setting.xla)
    return model


def _in_memory(bags: BagDataset, batch_size: int) -> tf.data.Dataset:
    """Return the batches of an epoch as tensors in memory, in another order each time."""
    batches = list(bags.batches(stop_epoch=1))
    inputs = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ("windows", "mask")}
    labels = np.concatenate([bags.labels[batch.songs] for batch in batches])
    shuffled = tf.data.Dataset.from_tensor_slices((inputs, labels)).shuffle(len(labels))
    return shuffled.batch(batch_size).repeat().prefetch(2).with_options(untuned())


class Busy:
    """How much of some stretches of time the first GPU was busy, by nvidia-smi.

    Attributes
    ----------
    share : float or None
        From 0 to 1; None if nvidia-smi is not there or said nothing.
    """

    def __init__(self) -> None:
        self._seen: list[int] = []

    @property
    def share(self) -> float | None:
        return statistics.fmean(self._seen) / 100 if self._seen else None

    @contextmanager
    def watched(self, counts: bool = True) -> Iterator[None]:
        """Watch while the block runs."""
        program = shutil.which("nvidia-smi")
        if program is None or not counts:
            yield
            return
        asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0", f"--loop-ms={_LOOK_MS}"]
        with subprocess.Popen([program, *asked], stdout=subprocess.PIPE, text=True) as watching:
            try:
                yield
            finally:
                watching.terminate()
                said, _ = watching.communicate()
        self._seen += percents(said)


def percents(said: str) -> list[int]:
    """Return the numbers of what nvidia-smi said, a line each; it says ``[N/A]`` where it cannot tell."""
    return [int(line) for line in said.splitlines() if line.strip().isdigit()]


def main() -> None:
    """Make the store, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=4096)
    parser.add_argument("--minutes", type=float, default=8.0, help="how long it may take")
    arguments = parser.parse_args()
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        print("TensorFlow sees no GPU here, so there is nothing to measure (`songbag doctor` says what it sees).")
        return
    began = time.monotonic()
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
    print(f"{name}, TensorFlow {tf.__version__}, {arguments.songs:,} songs\n")
    print("| encoder | batch | precision | XLA | epoch from the store | from memory | ratio | GPU busy |")
    print("|---" * 8 + "|")
    longest_s, left_out = 0.0, []
    with tempfile.TemporaryDirectory(prefix="songbag-gpu-") as folder:
        # The same songs again and again: making them takes longer than reading them.
        songs = itertools.islice(itertools.cycle(list(music_windows(_DIFFERENT))), arguments.songs)
        store = write_store(Path(folder) / "store", songs)
        for setting in settings():
            started = time.monotonic()
            # No longer than asked: one more would take as long as the longest so far.
            if started - began + longest_s > 60 * arguments.minutes:
                left_out.append(str(setting))
                continue
            print(f"| {setting} | {_measured(store, setting)} |", flush=True)
            longest_s = max(longest_s, time.monotonic() - started)
            keras.backend.clear_session()
    if left_out:
        print(f"\nLeft out, because the {arguments.minutes:g} minutes were over: {'; '.join(left_out)}")


if __name__ == "__main__":
    main()
