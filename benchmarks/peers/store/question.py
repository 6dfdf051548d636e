"""What a commit, a plan, a query, opening and reading cost, by the number of songs.

The rows are those of an index of songs, statistics included, without audio and features. They come in ten commits,
which the contestants make in turn. Plan: which of a list of songs, a tenth of them new, are not there. Query: songs and
windows by genre. Read, or verify: every column, with every check the format has. Each opens the store first. One bit
of the largest file is then changed, at 16 places in turn. songbag writes its whole index with every commit: the bytes
are those of all ten, and of the last one.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.contest import Setting, Values, contest
from benchmarks.peers.contestants import Contestant, Peer
from benchmarks.peers.results import Column, Table
from benchmarks.peers.store.rows import COMMITS

TITLE = "Store: an index that is committed to"

PEERS = (
    Peer(name="songbag", place="store.songbag:Songbag"),
    Peer(name="Delta Lake", place="store.delta:Delta", group="tables", package="deltalake"),
    Peer(name="Lance", place="store.lance:Lance", group="tables", package="pylance"),
    Peer(
        name="Icechunk", place="store.icechunk:Icechunk", group="arrays", package="icechunk", note="an array a column"
    ),
)

SIZES = {"full": ((10**3, 10**4, 10**5, 10**6), 5), "quick": ((10**3, 10**4), 3), "tiny": ((10**3,), 1)}
"""Songs of each table, and rounds."""

MOST_FLIPPED = 10_000
"""Songs of the largest store of which one bit is changed."""

COLUMNS = (
    Column("commit_s", "a commit", "seconds"),
    Column("ratio", "songbag is", "ratio"),
    Column("open_s", "open", "seconds"),
    Column("plan_s", "plan", "seconds"),
    Column("query_s", "query", "seconds"),
    Column("read_s", "read and verify all", "seconds"),
    Column("bytes", "bytes a song", "number"),
    Column("last_bytes", "of these, needed by the last state", "number"),
    Column("files", "files", "number"),
    Column("memory_bytes", "memory, plan", "bytes"),
    Column("flip", "one bit changed at 16 places", "text"),
)


def run(setting: Setting) -> tuple[list[Table], dict[str, str]]:
    """Measure every size."""
    sizes, rounds = SIZES[setting.scale]
    tables = []
    missing: dict[str, str] = {}
    for n_songs in sizes:
        setting.say(f"making the rows of {n_songs:,} songs")
        data = write_rows(setting.folder / str(n_songs) / "data", n_songs)
        table = Table(
            title=f"{n_songs:,} songs", about=f"{COMMITS} commits of {n_songs // COMMITS:,}.", columns=COLUMNS
        )
        missing |= _compare(setting, table, data, n_songs, rounds)
        tables.append(table)
    return tables, missing


def write_rows(folder: Path, n_songs: int) -> Path:
    """Write the rows of every commit."""
    import pyarrow as pa

    from benchmarks.million_songs import song_ids, synthetic_index

    folder.mkdir(parents=True)
    (folder / "song").write_bytes(b"no audio")
    genres = pa.array(["blues", "folk", "jazz", "rock"]).take(pa.array(np.arange(n_songs) % 4))
    ids = song_ids(n_songs + n_songs // 10)
    rows = synthetic_index(ids[:n_songs], genres, Path("/music"), (folder / "song").stat())
    for number in range(COMMITS):
        some = rows.slice(number * (n_songs // COMMITS), n_songs // COMMITS)
        _write_arrow(folder / f"{number}.arrow", some)
        for name in (columns := _arrays(some)):
            np.save(folder / f"{number}-{name}.npy", columns[name])
        (folder / "names.json").write_text(json.dumps(list(columns)))
    wanted = ids[n_songs // 10 :]
    _write_arrow(folder / "wanted.arrow", pa.table({"song_id": wanted}))
    np.save(folder / "wanted.npy", np.array(wanted, "S"))
    return folder


def _write_arrow(path: Path, rows: Any) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)


def _arrays(rows: Any) -> dict[str, Any]:
    """Return the columns that have values as arrays: numbers, lists of numbers as rows, texts as bytes."""
    import pyarrow as pa

    found = {}
    for field in rows.schema:
        column = rows[field.name].combine_chunks()
        if column.null_count == len(column):
            continue
        if pa.types.is_list(field.type):
            found[field.name] = column.flatten().to_numpy().reshape(len(rows), -1)
        elif pa.types.is_string(field.type):
            found[field.name] = np.array(column.to_pylist(), "S")
        elif pa.types.is_timestamp(field.type):
            found[field.name] = column.cast(pa.int64()).to_numpy()
        else:
            found[field.name] = column.to_numpy(zero_copy_only=False)
    return found


def _compare(setting: Setting, table: Table, data: Path, n_songs: int, rounds: int) -> dict[str, str]:
    def size(peer: Peer, contestant: Contestant, values: Values) -> None:
        files = [path for path in (found.folder(peer) / "store").rglob("*") if path.is_file()]
        values["files"], values["bytes"] = len(files), sum(path.stat().st_size for path in files) / n_songs
        newest = [path.stat().st_size for path in sorted(files) if path.parent.name == "index"][-1:]
        values["last_bytes"] = newest[0] / n_songs if newest else values["bytes"]
        values["memory_bytes"] = contestant.peak_bytes("plan")
        if n_songs <= MOST_FLIPPED:
            values["flip"] = contestant.ask("flip").value

    with contest(table, setting.peers, data.parent, data=str(data)) as found:
        for number in range(COMMITS):
            setting.say(f"{table.title}: commit {number + 1} of {COMMITS}")
            found.each(partial(_timed, "commit", [number], None))
        for number in range(rounds):
            setting.say(f"{table.title}: round {number + 1} of {rounds}")
            for do, right in (("open", n_songs), ("plan", n_songs // 10), ("query", 4), ("read", None)):
                found.each(partial(_timed, do, [], right))
        found.each(size)
        return found.fill()


def _timed(do: str, arguments: list[Any], right: Any, peer: Peer, contestant: Contestant, values: Values) -> None:
    answer = contestant.ask(do, *arguments)
    assert right is None or answer.value == right, f"{peer.name}: {do} gave {answer.value}"
    values.setdefault(f"{do}_s", []).append(answer.wall_s)
