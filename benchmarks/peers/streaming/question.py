"""How many songs a second a training can read, of equal and of unequal length, in what order, and from the middle.

Songs have 23 windows (13, 216), as a minute of music has, or 3 to 80; bags of 16 windows, batches of 32, all cores, a
warm page cache. The contestants take turns; those that wait are stopped.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.contest import Contest, Setting, Values, contest
from benchmarks.peers.contestants import CannotRun, Contestant, Peer
from benchmarks.peers.results import Column, Table
from benchmarks.peers.streaming.songs import BATCH, WINDOW, Songs

TITLE = "Streaming: bags of shuffled songs for a training"

PEERS = (
    Peer(name="songbag", place="streaming.songbag:Songbag"),
    Peer(
        name="raw memory map",
        place="streaming.memory_map:MemoryMap",
        package="numpy",
        note="float32, no check, no unpacking",
    ),
    Peer(
        name="TFRecord + tf.data",
        place="streaming.tfrecord:TfRecord",
        package="tensorflow",
        note="int16 uncompressed, shuffled within 512 songs",
    ),
    Peer(
        name="MosaicML MDS",
        place="streaming.mds:Mds",
        group="torch",
        package="mosaicml-streaming",
        note="int16 uncompressed",
    ),
    Peer(
        name="WebDataset",
        place="streaming.web_dataset:WebDataset",
        group="torch",
        package="webdataset",
        note="int16 uncompressed, shuffled within 512 songs",
    ),
    Peer(name="Lhotse", place="streaming.lhotse:Lhotse", group="torch", package="lhotse", note="lilcom"),
    Peer(
        name="LitData", place="streaming.lit_data:LitData", group="torch", package="litdata", note="int16 uncompressed"
    ),
    Peer(
        name="HDF5",
        place="streaming.hdf5:Hdf5",
        group="arrays",
        package="h5py",
        note="int16 uncompressed, one contiguous array",
    ),
    Peer(
        name="zarr-python",
        place="streaming.zarr_python:ZarrPython",
        group="arrays",
        package="zarr",
        note="songbag's chunks, shards and codecs",
    ),
    Peer(
        name="annbatch",
        place="streaming.annbatch:AnnBatch",
        group="arrays",
        package="annbatch",
        note="songbag's codecs, a song a row and a chunk",
    ),
    Peer(name="Lance", place="streaming.lance:Lance", group="tables", package="pylance", note="int16 as bytes"),
    Peer(
        name="Grain + array_record",
        place="streaming.grain:Grain",
        group="tables",
        package="grain",
        note="int16 uncompressed",
    ),
)

SIZES = {"full": (2000, 7), "quick": (200, 3), "tiny": (20, 1)}
"""Songs and rounds. The tiny one has noise for songs, of unequal length only."""

COLUMNS = (
    Column("songs_per_s", "songs/s", "rate", more_is_better=True),
    Column("ratio", "songbag is", "ratio"),
    Column("processor", "processor, ms a song", "number"),
    Column("bytes", "bytes, of float32", "number"),
    Column("memory_bytes", "memory", "bytes"),
    Column("write_s", "written in", "seconds"),
    Column("order", "order: rank correlation with the disk (0 is best)", "number"),
    Column("neighbours", "order: distance of neighbours (1 is best)", "number"),
    Column("resume", "goes on in the middle of an epoch", "text"),
)


def run(setting: Setting) -> tuple[list[Table], dict[str, str]]:
    """Measure songs of equal and of unequal length."""
    n_songs, rounds = SIZES[setting.scale]
    is_tiny = setting.scale == "tiny"
    missing: dict[str, str] = {}
    tables = []
    kinds = song_lengths(n_songs)
    setting.say(f"making the windows of {n_songs} songs")
    windows = some_windows(max(int(lengths.sum()) for lengths in kinds.values()), noise=is_tiny)
    for kind, lengths in kinds.items():
        if is_tiny and kind == "equal":
            continue
        data = write_songs(setting.folder / kind / "data", windows[: lengths.sum()], lengths)
        about = (
            f"{len(lengths):,} songs, {lengths.sum():,} windows, {lengths.min()} to {lengths.max()} a song; "
            "bags of 16 windows, batches of 32."
        )
        table = Table(title=f"Songs of {kind} length", about=about, columns=COLUMNS)
        missing |= _compare(setting, table, data, rounds)
        tables.append(table)
    return tables, missing


def song_lengths(n_songs: int) -> dict[str, Any]:
    """Return the windows of each song: as many in each, and as of songs of 10 s to 3.4 minutes."""
    rng = np.random.default_rng(1)
    unequal = np.clip(np.rint(rng.lognormal(np.log(20), 0.6, n_songs)), 3, 80).astype(np.int64)
    return {"equal": np.full(n_songs, 23), "unequal": unequal}


def some_windows(total: int, *, noise: bool) -> Any:
    """Return windows of music or of noise."""
    from benchmarks.stores import music_windows

    if noise:
        return np.random.default_rng(0).normal(0, 30, (total, *WINDOW)).astype(np.float32)
    return np.concatenate(list(music_windows(-(-total // 23))))[:total]


def write_songs(folder: Path, windows: Any, lengths: Any) -> Path:
    """Write the windows that all contestants take."""
    from benchmarks.stores import SPEC
    from songbag_store.format.array import encode

    folder.mkdir(parents=True)
    np.save(folder / "raw.npy", windows)
    np.save(folder / "stored.npy", encode(windows, SPEC))
    np.save(folder / "starts.npy", np.concatenate([[0], np.cumsum(lengths)]))
    return folder


def _compare(setting: Setting, table: Table, data: Path, rounds: int) -> dict[str, str]:
    def write(peer: Peer, contestant: Contestant, values: Values) -> None:
        setting.say(f"{table.title}: {peer.name} writes")
        values["write_s"] = contestant.ask("write").wall_s
        n_bytes = sum(path.stat().st_size for path in found.folder(peer).rglob("*") if path.is_file())
        values["bytes"] = n_bytes / (data / "raw.npy").stat().st_size
        contestant.ask("epoch", 0)

    def finish(peer: Peer, contestant: Contestant, values: Values) -> None:
        setting.say(f"{table.title}: {peer.name}, memory and the middle of an epoch")
        values["memory_bytes"] = contestant.peak_bytes("epoch", rounds + 1)
        values |= order_quality(values.pop("orders"))
        values["resume"] = _resumed(found, peer, contestant, rounds + 2, max(1, len(Songs(data)) // BATCH // 3))

    with contest(table, setting.peers, data.parent, data=str(data)) as found:
        found.each(write)
        for number in range(1, rounds + 1):
            setting.say(f"{table.title}: round {number} of {rounds}")
            found.each(partial(_turn, number))
        found.each(finish)
        return found.fill()


def _turn(number: int, _: Peer, contestant: Contestant, values: Values) -> None:
    answer = contestant.ask("epoch", number)
    n_songs = len(answer.value)
    values.setdefault("songs_per_s", []).append(n_songs / answer.wall_s)
    values.setdefault("processor", []).append(1000 * answer.processor_s / n_songs)
    values.setdefault("orders", []).append(answer.value)


def order_quality(orders: list[list[int]]) -> dict[str, float]:
    """Return how random the orders of epochs are, against the order on disk: medians.

    ``order`` is the absolute rank correlation of a song's place in the epoch and on disk; ``neighbours`` the mean
    distance on disk of songs that come one after the other, over a third of the songs, which is that of a random order.
    """
    correlations, distances = [], []
    for order in map(np.asarray, orders):
        correlations.append(abs(np.corrcoef(np.argsort(np.argsort(order)), np.arange(len(order)))[0, 1]))
        distances.append(np.abs(np.diff(order)).mean() / (len(order) / 3))
    return {"order": round(float(np.median(correlations)), 3), "neighbours": round(float(np.median(distances)), 3)}


def _resumed(found: Contest, peer: Peer, contestant: Contestant, epoch: int, n_batches: int) -> str:
    """Stop in the middle of an epoch, go on in a new process, and say whether that gave the same."""
    if not contestant.ask("can_resume").value:
        return "no"
    try:
        halted = contestant.ask("halt", epoch, n_batches).value
        rest = found.start(peer).ask("go_on", halted["state"]).value
    except CannotRun as error:
        return f"fails: {error}"
    if rest == halted["rest"]:
        return "exactly"
    there, here = ([numbers for numbers, _ in batches] for batches in (halted["rest"], rest))
    if there == here:
        return "the same songs, with other windows"
    lost = {n for numbers in there for n in numbers} ^ {n for numbers in here for n in numbers}
    return f"{len(lost):,} songs lost or read twice" if lost else "the same songs in another order"
