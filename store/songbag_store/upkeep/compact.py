"""Fragments with removed songs, and many small ones, rewritten as fresh ones with the same windows, bit for bit."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.parts import read_part, write_part
from songbag_store.commits.snapshots import Snapshot
from songbag_store.format.facts import ObjectFacts
from songbag_store.format.index import REPLACES
from songbag_store.store import SongStore, StoreLike
from songbag_store.windows.spans import Spans
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import SHARD_BYTES, write_fragment
from songbag_store.writer import commit_change

FRAGMENT_BYTES = 8 * SHARD_BYTES
"""Raw size of a fresh fragment; it is also what lies in the temporary folder while it is written."""
_SMALL_BYTES = SHARD_BYTES // 2
"""Raw size below which a fragment is worth joining with others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes
    ----------
    n_before, n_after : int
        Fragments that were rewritten, and those written in their place.
    n_songs : int
        Songs whose windows were copied.
    n_freed_bytes : int
        Raw size of the windows of removed songs that the fresh fragments leave out.
    """

    n_before: int
    n_after: int
    n_songs: int
    n_freed_bytes: int


def compact(store: StoreLike, *, fragment_bytes: int = FRAGMENT_BYTES) -> tuple[SongStore, Compaction]:
    """Rewrite fragments that hold windows of removed songs, and join small ones.

    The old fragments stay for those who read older snapshots, until they are collected. A song that somebody computes
    again or removes meanwhile is left as that writer left it.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    fragment_bytes : int
        Raw size that a fresh fragment does not exceed, unless one song does.

    Returns
    -------
    store : SongStore
        At the new snapshot, or as it was where there is nothing to gain.
    compaction : Compaction
        What was done.

    Raises
    ------
    DamagedStore
        If windows to be copied are not what was written; what is whole is never replaced by what is not.
    """
    store = SongStore.open(store)
    songs = store.songs(arrow=True).select(["song_id", "fragment", "row_start", "n_windows"])
    stale, n_freed = _stale_fragments(store, songs)
    old = songs.filter(pc.is_in(songs["fragment"], value_set=pa.array(sorted(stale), pa.string())))
    old = old.sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    if old.num_rows == 0:
        return store, Compaction(0, 0, 0, 0)
    fresh = [_rewrite(store, batch) for batch in _batches(old, fragment_bytes // store.spec.window_bytes)]
    moves, names = pa.concat_tables(fresh), {table["fragment"][0].as_py() for table in fresh}

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        moved = _moved(base.index, moves)
        return None if moved is None else (moved, base.parts | names)

    done = Compaction(len(stale), len(names), old.num_rows, n_freed)
    note = f"compact {done.n_before:,} fragments into {done.n_after:,}"
    return commit_change(store, change, note=note), done


def _stale_fragments(store: SongStore, songs: pa.Table) -> tuple[set[str], int]:
    """Name the fragments to rewrite, and the bytes of windows in them that no song has any more."""
    live = songs.group_by("fragment").aggregate([("n_windows", "sum")])
    stale, small, n_freed = set(), set(), 0
    for fragment, n_live in zip(live["fragment"].to_pylist(), live["n_windows_sum"].to_pylist(), strict=True):
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        n_dead = (pc.sum(rows["n_windows"]).as_py() or 0) - n_live
        if n_dead > 0:
            stale.add(fragment)
            n_freed += n_dead * store.spec.window_bytes
        elif n_live * store.spec.window_bytes < _SMALL_BYTES:
            small.add(fragment)
    return stale | (small if len(small) + len(stale) > 1 else set()), n_freed


def _batches(songs: pa.Table, most_windows: int) -> Iterator[pa.Table]:
    start, n_batch = 0, 0
    for row, n_windows in enumerate(songs["n_windows"].to_pylist()):
        if row > start and n_batch + n_windows > most_windows:
            yield songs.slice(start, row - start)
            start, n_batch = row, 0
        n_batch += n_windows
    yield songs.slice(start)


def _rewrite(store: SongStore, songs: pa.Table) -> pa.Table:
    """Copy the windows of some songs into a new fragment; return for each where they were and where they are."""
    fragment, starts = uuid.uuid4().hex, []
    with WindowSpill(store.spec) as spill:
        for span in Spans.of(songs):
            starts.append(spill.n_windows)
            spill.append(store.inside.reader.read_all([span])[0])
            spill.end_song()
        objects = write_fragment(store.inside.storage, fragment, store.spec, spill)
    moves = pa.table(
        {
            "song_id": songs["song_id"],
            "old": songs["fragment"],
            "fragment": pa.repeat(fragment, songs.num_rows),
            "row_start": pa.array(starts, pa.int64()),
        }
    )
    _write_part(store, songs, moves, objects)
    return moves


def _write_part(store: SongStore, songs: pa.Table, moves: pa.Table, objects: dict[str, ObjectFacts]) -> None:
    """Record the fragment's objects.

    The rows say that they replace themselves, which no row of an index can be: should this process die before its
    commit, a later run that adopts the part changes nothing by it, and the fragment is collected.
    """
    fragment = moves["fragment"][0].as_py()
    position = pc.index_in(songs["song_id"], value_set=store.index(arrow=True)["song_id"].combine_chunks())
    rows = store.index(arrow=True).take(position)
    for name in ("fragment", "row_start"):
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), moves[name])
    rows = rows.append_column(REPLACES, moves["fragment"])
    write_part(store.inside.storage, store.uuid, store.spec, fragment, rows, objects)


def _moved(index: pa.Table, moves: pa.Table) -> pa.Table | None:
    """Return the index with the songs at their new places, each by compare-and-swap; None where none is to move."""
    position = pc.index_in(index["song_id"], value_set=moves["song_id"].combine_chunks())
    hit = pc.fill_null(pc.equal(index["fragment"], moves["old"].take(position)), False)
    if not pc.any(hit).as_py():
        return None
    for name in ("fragment", "row_start"):
        column = pc.if_else(hit, moves[name].take(position), index[name])
        index = index.set_column(index.schema.get_field_index(name), index.schema.field(name), column)
    return index
