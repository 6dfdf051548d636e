"""`compact`: fragments with removed songs, and small fragments, are rewritten; every window keeps its bytes."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.parts import read_part, write_part
from songbag_store.commits.snapshots import Snapshot
from songbag_store.format.index import REPLACES
from songbag_store.store import SongStore, StoreLike
from songbag_store.windows.spans import Spans
from songbag_store.windows.spill import WindowSpill
from songbag_store.windows.writer import SHARD_BYTES, write_fragment
from songbag_store.words import counted
from songbag_store.writer import commit_change

FRAGMENT_BYTES = 8 * SHARD_BYTES
"""Raw size of a new fragment; so much lies in the temporary folder while it is written."""
_SMALL_BYTES = SHARD_BYTES // 2
"""Raw size below which a fragment is worth joining with others."""


@dataclasses.dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did.

    Attributes
    ----------
    n_before, n_after : int
        Fragments that were rewritten, and the new ones that replace them.
    n_songs : int
        Songs whose windows were copied.
    n_freed_bytes : int
        Raw size of the windows of removed songs, which the new fragments leave out.
    """

    n_before: int
    n_after: int
    n_songs: int
    n_freed_bytes: int


def compact(store: StoreLike, *, fragment_bytes: int = FRAGMENT_BYTES) -> tuple[SongStore, Compaction]:
    """Rewrite fragments that hold windows of removed songs, and join small ones.

    The old fragments stay, for readers of older snapshots, until `gc` deletes them. A song that another writer
    computes again or removes in the meantime stays as that writer left it.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    fragment_bytes : int
        A new fragment is not larger than this (raw size), unless a single song is.

    Returns
    -------
    store : SongStore
        At the new snapshot, or as it was if there is nothing to gain.
    compaction : Compaction
        What was done.

    Raises
    ------
    DamagedStore
        If windows to be copied are not what was written. Nothing is replaced then.
    """
    store = SongStore.open(store)
    stale, n_freed = _stale_fragments(store)
    old = store.inside.places.filter(pc.is_in(store.inside.places["fragment"], value_set=pa.array(stale, pa.string())))
    old = old.sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    if old.num_rows == 0:
        return store, Compaction(0, 0, 0, 0)
    batches = _batches(old, fragment_bytes // store.spec.window_bytes)
    moves = pa.concat_tables([_rewrite(store, batch) for batch in batches])
    names = frozenset(pc.unique(moves["fragment"]).to_pylist())

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        # A song that another writer has replaced or removed is left as it is.
        position = pc.index_in(base.index["song_id"], value_set=moves["song_id"].combine_chunks())
        hit = pc.fill_null(pc.equal(base.index["fragment"], moves["old"].take(position)), False)
        moved = {n: pc.if_else(hit, moves[n].take(position), base.index[n]) for n in ("fragment", "row_start")}
        return (_with_columns(base.index, moved), base.parts | names) if pc.any(hit).as_py() else None

    done = Compaction(len(stale), len(names), old.num_rows, n_freed)
    note = f"compact {counted(done.n_before, 'fragment')} into {done.n_after:,}"
    return commit_change(store, change, note=note), done


def _stale_fragments(store: SongStore) -> tuple[list[str], int]:
    """Return the fragments to rewrite, and the bytes of the windows in them that no song has any more."""
    live = store.inside.places.group_by("fragment").aggregate([("n_windows", "sum")])
    stale, small, n_freed = [], [], 0
    for fragment, n_live in zip(live["fragment"].to_pylist(), live["n_windows_sum"].to_pylist(), strict=True):
        rows = read_part(store.inside.storage, store.uuid, store.spec, fragment)
        n_dead = (pc.sum(rows["n_windows"]).as_py() or 0) - n_live
        if n_dead > 0:
            stale.append(fragment)
            n_freed += n_dead * store.spec.window_bytes
        elif n_live * store.spec.window_bytes < _SMALL_BYTES:
            small.append(fragment)
    # One small fragment alone has no other to be joined with.
    return stale + small * (len(small) + len(stale) > 1), n_freed


def _batches(songs: pa.Table, most_windows: int) -> Iterator[pa.Table]:
    start, n_batch = 0, 0
    for row, n_windows in enumerate(songs["n_windows"].to_pylist()):
        if row > start and n_batch + n_windows > most_windows:
            yield songs.slice(start, row - start)
            start, n_batch = row, 0
        n_batch += n_windows
    yield songs.slice(start)


def _rewrite(store: SongStore, songs: pa.Table) -> pa.Table:
    """Copy the windows of some songs into a new fragment; return the old and the new place of each song."""
    fragment, starts = uuid.uuid4().hex, []
    with WindowSpill(store.spec) as spill:
        for span in Spans.of(songs):
            starts.append(spill.n_windows)
            spill.append(store.inside.reader.read_all([span])[0])
            spill.end_song()
        objects = write_fragment(store.inside.storage, fragment, store.spec, spill)
    new = {"fragment": pa.repeat(fragment, songs.num_rows), "row_start": pa.array(starts, pa.int64())}
    rows = _with_columns(store.songs(ids=songs["song_id"].to_pylist(), arrow=True), new)
    # The rows say that they replace themselves, which no row of an index can do. If this process dies before its
    # commit, a later run that adopts the part changes nothing, and `gc` deletes the fragment.
    rows = rows.append_column(REPLACES, new["fragment"])
    write_part(store.inside.storage, store.uuid, store.spec, fragment, rows, objects)
    return pa.table({"song_id": songs["song_id"], "old": songs["fragment"], **new})


def _with_columns(table: pa.Table, new: Mapping[str, pa.Array]) -> pa.Table:
    """Return a table with other values in some of its columns."""
    return pa.table([new.get(name, table[name]) for name in table.column_names], schema=table.schema)
