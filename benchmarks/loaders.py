"""Bags of shuffled songs from songbag and from its peers, into NumPy batches, in one run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.loaders [--songs 2000] [--rounds 7]

2,000 songs of 23 windows (13, 216), bags of 16 windows, batches of 32, all of this machine's cores, warm page cache.
The contestants take turns; those that wait are stopped, for the threads of some never rest. The ratio is the median
over the rounds. A peer that is not installed is left out.

TFRecord, MDS and WebDataset store the same int16 as songbag, without compression, which they read fastest; Lhotse its
lilcom-compressed arrays. Each shuffles as it can: TFRecord and WebDataset within a buffer of 512 songs, MDS and Lhotse
over all.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.stores import music_windows, write_store
from songbag_store.format.array import decode, encode
from songbag_store.format.spec import FeatureSpec

BAG, BATCH, BUFFER = 16, 32, 512
SHAPE = (23, 13, 216)
SPEC = FeatureSpec()

Stored = npt.NDArray[np.int16]
Raw = npt.NDArray[np.float32]
Contestant = Callable[[], Iterator[Stored]]
"""Yields an epoch of batches, int16 (or float32), shape (B, 16, 13, 216)."""
Maker = Callable[[Path, Raw], Contestant]


def main() -> None:
    """Print a line for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        raw = np.stack(list(music_windows(args.songs)))
        np.save(root / "raw.npy", raw)
        print(
            f"largest error of int16: {np.abs(decode(encode(raw, SPEC), SPEC) - raw).max():.5f} (1/32 is {1 / 32:.5f})"
        )
        contestants, sizes = {}, {}
        for name, (module, make) in CONTESTANTS.items():
            if module is None or importlib.util.find_spec(module):
                contestants[name] = stack.enter_context(_process(make, root))
                n_bytes = sum(path.stat().st_size for path in (root / make.__name__).rglob("*") if path.is_file())
                sizes[name] = n_bytes / raw.nbytes
        _compare(contestants, sizes, args)


Turn = Callable[[], tuple[int, float]]
"""Has a contestant read an epoch; gives the songs it read and the seconds it took."""


@contextmanager
def _process(make: Maker, root: Path) -> Iterator[Turn]:
    """Run a contestant in a process of its own: TensorFlow and PyTorch do not always bear each other."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(make, root, there))
    process.start()
    there.close()
    group = process.pid or 0

    def turn() -> tuple[int, float]:
        os.killpg(group, signal.SIGCONT)
        here.send(None)
        n_songs, seconds = here.recv()
        os.killpg(group, signal.SIGSTOP)
        return n_songs, seconds

    try:
        here.recv()
        os.killpg(group, signal.SIGSTOP)
        yield turn
    finally:
        os.killpg(group, signal.SIGCONT)
        here.close()
        process.join(20)
        process.kill()


def _serve(make: Maker, root: Path, connection: Connection) -> None:
    """Write what the contestant reads, then run an epoch for every message."""
    os.setpgid(0, 0)
    folder = root / make.__name__
    folder.mkdir()
    run = make(folder, np.load(root / "raw.npy", mmap_mode="c"))
    connection.send(None)
    with suppress(EOFError):
        while True:
            connection.recv()
            began = time.perf_counter()
            n_songs = sum(len(batch) for batch in run())
            connection.send((n_songs, time.perf_counter() - began))


def _compare(contestants: dict[str, Turn], sizes: dict[str, float], args: Any) -> None:
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(args.rounds + 1):
        for name, turn in contestants.items():
            n_songs, seconds = turn()
            # MDS repeats a few songs so that its workers have the same number.
            assert args.songs <= n_songs <= args.songs + 2 * BATCH, f"{name}: {n_songs} songs"
            if number:
                rates[name].append(n_songs / seconds)
    for name, values in rates.items():
        rate = statistics.median(values)
        ratio = statistics.median(own / other for own, other in zip(rates["songbag"], values, strict=True))
        print(f"{name:24} {rate:8,.0f} songs/s  songbag {ratio:5.2f} x  {sizes[name]:.3f} of raw", flush=True)


def _drawn(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(rng.permutation(SHAPE[0])[:BAG])


def _joined(bags: Iterator[Any]) -> Iterator[Stored]:
    batch = []
    for bag in bags:
        batch.append(bag)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _songbag(folder: Path, raw: Raw) -> Contestant:
    bags = write_store(folder / "store", iter(raw)).bags(labels="label", bag_size=BAG, batch_size=BATCH)
    epochs = iter(range(10**6))

    def run() -> Iterator[Stored]:
        epoch = next(epochs)
        for batch in bags.batches((epoch, 0), stop_epoch=epoch + 1):
            yield batch.windows

    return run


def _tfrecord(folder: Path, raw: Raw) -> Contestant:
    import tensorflow as tf

    songs = encode(raw, SPEC)
    for number, some in enumerate(np.array_split(songs, 8)):
        with tf.io.TFRecordWriter(str(folder / f"{number}.tfrecord")) as writer:
            for song in some:
                feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[song.tobytes()]))
                writer.write(
                    tf.train.Example(features=tf.train.Features(feature={"windows": feature})).SerializeToString()
                )

    def parse(record: Any) -> Any:
        data = tf.io.parse_single_example(record, {"windows": tf.io.FixedLenFeature([], tf.string)})["windows"]
        windows = tf.reshape(tf.io.decode_raw(data, tf.int16), SHAPE)
        return tf.gather(windows, tf.sort(tf.random.shuffle(tf.range(SHAPE[0]))[:BAG]))

    files = tf.data.Dataset.list_files(str(folder / "*.tfrecord"), shuffle=True)
    options = tf.data.Options()
    options.deterministic = False
    dataset = (
        files.interleave(tf.data.TFRecordDataset, cycle_length=8, num_parallel_calls=tf.data.AUTOTUNE)
        .shuffle(BUFFER)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
    return lambda: iter(dataset.as_numpy_iterator())


def _bags_of(samples: list[Any]) -> Stored:
    rng = np.random.default_rng()
    return np.stack([sample["windows"][_drawn(rng)] for sample in samples])


def _bag_of_bytes(sample: Any) -> Stored:
    return np.frombuffer(sample["windows"], np.int16).reshape(SHAPE)[_drawn(np.random.default_rng())]


def _mds(folder: Path, raw: Raw) -> Contestant:
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    songs = encode(raw, SPEC)
    with MDSWriter(out=str(folder), columns={"windows": "ndarray:int16:23,13,216"}) as writer:
        for song in songs:
            writer.write({"windows": song})

    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
    loader = DataLoader(dataset, BATCH, num_workers=os.cpu_count() or 1, collate_fn=_bags_of, persistent_workers=True)
    return lambda: iter(loader)


def _webdataset(folder: Path, raw: Raw) -> Contestant:
    import webdataset
    from torch.utils.data import DataLoader

    songs = encode(raw, SPEC)
    with webdataset.ShardWriter(f"{folder}/%04d.tar", maxcount=-(-len(songs) // 8), verbose=0) as writer:
        for number, song in enumerate(songs):
            writer.write({"__key__": f"{number:06}", "windows": song.tobytes()})

    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(BUFFER).map(_bag_of_bytes)
    dataset = dataset.batched(BATCH, collation_fn=np.stack)
    loader = DataLoader(dataset, None, num_workers=os.cpu_count() or 1, persistent_workers=True)
    return lambda: iter(loader)


def _lhotse(folder: Path, raw: Raw) -> Contestant:
    from lhotse import LilcomChunkyWriter

    with LilcomChunkyWriter(folder / "features") as writer:
        keys = [writer.write(str(n), song.reshape(-1, SHAPE[-1])) for n, song in enumerate(raw)]
    storage = writer.storage_path

    def read(number: int) -> npt.NDArray[np.float32]:
        from lhotse.features.io import LilcomChunkyReader

        song = LilcomChunkyReader(storage).read(keys[number]).reshape(SHAPE)
        return np.asarray(song[_drawn(np.random.default_rng())])

    threads = ThreadPoolExecutor(os.cpu_count())
    return lambda: _joined(iter(threads.map(read, np.random.default_rng().permutation(len(keys)).tolist())))


def _memory_map(folder: Path, raw: Raw) -> Contestant:
    np.save(folder / "raw.npy", raw)
    mapped = np.load(folder / "raw.npy", mmap_mode="r")

    def run() -> Iterator[Any]:
        rng = np.random.default_rng()
        order = rng.permutation(len(mapped))
        for first in range(0, len(order), BATCH):
            songs = order[first : first + BATCH]
            windows = np.argsort(rng.random((len(songs), SHAPE[0])), axis=1)[:, :BAG]
            yield mapped[songs[:, None], np.sort(windows, axis=1)]

    return run


CONTESTANTS: dict[str, tuple[str | None, Maker]] = {
    "songbag": (None, _songbag),
    "TFRecord + tf.data": ("tensorflow", _tfrecord),
    "MosaicML MDS": ("streaming", _mds),
    "WebDataset": ("webdataset", _webdataset),
    "Lhotse (lilcom)": ("lhotse", _lhotse),
    "raw memory map, float32": (None, _memory_map),
}


if __name__ == "__main__":
    main()
