"""`verify`: compare a store with what was written to it. `repair`: commit a snapshot without the damaged songs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.history import read_events, read_tags
from songbag_store.commits.parts import read_part_facts
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.format.array import decode, read_layout
from songbag_store.format.facts import ObjectFacts
from songbag_store.sql.output import plain_text
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.change import drop_songs
from songbag_store.windows.spans import Spans

_COLUMNS = ["song_id", "fragment", "row_start", "n_windows", "feature_sum", "feature_sumsq"]


@dataclasses.dataclass(frozen=True, slots=True)
class Damage:
    """An object that is not as it was written.

    Attributes
    ----------
    key : str
        The object.
    what : str
        What is wrong with it.
    songs : tuple of (str, str)
        Song id and fragment of every song that cannot be trusted because of it.
    """

    key: str
    what: str
    songs: tuple[tuple[str, str], ...] = ()

    @property
    def song_ids(self) -> tuple[str, ...]:
        """The songs' ids."""
        return tuple(song_id for song_id, _ in self.songs)


def verify(store: StoreLike, *, full: bool = False) -> list[Damage]:
    """Compare what is there with what was written, and return every difference.

    The quick way lists the store once and compares sizes with those in the parts. The full way also reads every byte:
    it compares digests, and checks of every song that its windows are finite and add up to the sums in the index.
    Other processes may read and write at the same time.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        Checked at its snapshot.
    full : bool
        Read every byte, and the files of the other snapshots too.
    """
    store = SongStore.open(store)
    damages = []
    sizes = {entry.key: entry.n_bytes for entry in store.inside.storage.entries(keys.ARRAYS)}
    if keys.GROUP_METADATA not in sizes:
        damages.append(Damage(keys.GROUP_METADATA, "is missing: other tools do not find the arrays without it"))
    songs = store.inside.songs(_COLUMNS).sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    runs, start = pc.run_end_encode(songs["fragment"].combine_chunks()), 0
    for fragment, stop in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        damages += _verify_fragment(store, fragment, songs.slice(start, stop - start), sizes, full)
        start = stop
    return [*damages, *_verify_past(store)] if full else damages


def repair(store: StoreLike, damages: list[Damage] | None = None, *, full: bool = False) -> tuple[SongStore, int]:
    """Commit a snapshot without the damaged songs, so that the next extract computes them again.

    A song that was computed again since `verify` is kept.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    damages : list of Damage, optional
        What `verify` found; by default it runs now.
    full : bool
        As for `verify`.

    Returns
    -------
    store : SongStore
        At the new snapshot, or at the newest if no song is damaged.
    n_removed : int
        Songs that left the index.
    """
    store = SongStore.open(store)
    damages = verify(store, full=full) if damages is None else damages
    hit = sorted({song for damage in damages for song in damage.songs})
    song_ids, fragments = (pa.array([song[i] for song in hit], pa.string()) for i in (0, 1))

    def is_gone(index: pa.Table) -> pa.ChunkedArray:
        position = pc.index_in(index["song_id"], value_set=song_ids)
        return pc.fill_null(pc.equal(index["fragment"], fragments.take(position.combine_chunks())), False)

    return drop_songs(store, is_gone, note="repair")


def _verify_fragment(
    store: SongStore, fragment: str, songs: pa.Table, sizes: dict[str, int], full: bool
) -> Iterator[Damage]:
    everyone = _named(songs)
    try:
        rows, objects = read_part_facts(store.inside.storage, store.uuid, store.spec, fragment)
    except DamagedStore as error:
        yield Damage(error.key, _bare(error), everyone)
        return
    bad = {key: what for key, facts in objects.items() if (what := _object_fault(store, key, facts, sizes, full))}
    metadata = keys.metadata_key(fragment)
    hit = dict.fromkeys(bad, everyone)
    if metadata in objects and metadata not in bad:
        n_rows = pc.sum(rows["n_windows"]).as_py() or 0
        try:
            layout = read_layout(store.inside.storage.get(metadata), store.spec)
            if layout.shape[0] != n_rows:
                raise ValueError(f"says {layout.shape[0]:,} windows; its part has {n_rows:,}")
        except (ValueError, FileNotFoundError) as error:
            yield Damage(metadata, str(error), everyone)
            return
        hit = {key: _hit(songs, key, layout.shard) for key in bad}
    # This snapshot does not need a shard that holds only removed songs.
    yield from (Damage(key, what, hit[key]) for key, what in bad.items() if hit[key])
    if full:
        known = {song for damaged in hit.values() for song in damaged}
        yield from _verify_windows(store, songs, known)


def _object_fault(store: SongStore, key: str, facts: ObjectFacts, sizes: dict[str, int], full: bool) -> str | None:
    """Return what is wrong with an object, or None."""
    if key not in sizes:
        return "is missing"
    if sizes[key] != facts["bytes"]:
        return f"has {sizes[key]:,} bytes instead of {facts['bytes']:,}"
    try:
        changed = full and hashlib.sha256(store.inside.storage.get(key)).hexdigest() != facts["sha256"]
    except FileNotFoundError:
        return "is missing"
    return "is not what was written: its digest is another" if changed else None


def _hit(songs: pa.Table, key: str, n_per_shard: int) -> tuple[tuple[str, str], ...]:
    """Return the songs with windows in a shard; all of them for another object of the fragment."""
    number = keys.shard_number(key)
    if number is None:
        return _named(songs)
    start, stop = number * n_per_shard, (number + 1) * n_per_shard
    ends = pc.add(songs["row_start"], songs["n_windows"])
    return _named(songs.filter(pc.and_(pc.less(songs["row_start"], stop), pc.greater(ends, start))))


def _named(songs: pa.Table) -> tuple[tuple[str, str], ...]:
    return tuple(zip(songs["song_id"].to_pylist(), songs["fragment"].to_pylist(), strict=True))


def _verify_windows(store: SongStore, songs: pa.Table, known: set[tuple[str, str]]) -> Iterator[Damage]:
    """Read every song that is not known to be damaged, and compare its windows with its row of the index."""
    sums = zip(songs["feature_sum"].to_pylist(), songs["feature_sumsq"].to_pylist(), strict=True)
    for span, expected in zip(Spans.of(songs), sums, strict=True):
        song = (span.song_id, span.fragment)
        if song in known:
            continue
        try:
            windows = decode(store.inside.reader.read_all([span])[0]).astype(np.float64)
            if what := _windows_fault(windows, expected):
                yield Damage(keys.fragment_key(span.fragment), f"song {span.song_id!r} {what}", (song,))
        except DamagedStore as error:
            yield Damage(error.key, _bare(error), (song,))


def _bare(error: DamagedStore) -> str:
    """Return what is wrong, without the key and the songs that the message names."""
    return error.what.removeprefix(f"{error.key}: ").partition(" (songs hit")[0]


def _windows_fault(windows: np.ndarray[Any, Any], expected: tuple[list[float] | None, list[float] | None]) -> str:
    if not np.isfinite(windows).all():
        return "has windows that are not finite"
    found = windows.sum(axis=(0, 2)), np.square(windows).sum(axis=(0, 2))
    scale = np.abs(windows).sum(axis=(0, 2)), found[1]
    for name, given, sums, size in zip(("feature_sum", "feature_sumsq"), expected, found, scale, strict=True):
        if given is None or len(given) != len(sums):
            return f"has no {name} for each of its coefficients"
        # The order of adding may differ, so the sums may differ by the rounding of float64.
        if not np.allclose(given, sums, rtol=0, atol=1e-9 * max(1.0, float(size.max()))):
            return f"has windows that do not add up to its {name}"
    return ""


def _verify_past(store: SongStore) -> list[Damage]:
    """Check the files of all snapshots and tags."""
    storage, what = store.inside.storage, "is damaged: which snapshot it pins is unknown"
    events = ((keys.snapshot_key(event.snapshot), event) for event in read_events(storage, store.uuid))
    damages = [Damage(key, event.change.removeprefix(f"{key}: ")) for key, event in events if not event.whole]
    return damages + [Damage(keys.tag_key(tag.name), what) for tag in read_tags(storage) if tag.snapshot is None]


def report(damages: list[Damage]) -> str:
    """Return damages as text, each with the ids of its songs."""
    return "\n".join("\n  song ".join([f"{one.key}: {one.what}", *map(plain_text, one.song_ids)]) for one in damages)
