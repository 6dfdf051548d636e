"""`verify`: compare a store with what was written to it. `repair`: commit a snapshot without the damaged songs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.history import Event, read_events, read_tags
from songbag_store.commits.parts import part_names, read_part_facts
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.format.array import GROUP_DOCUMENT, decode, read_layout
from songbag_store.format.document import unseal_document
from songbag_store.format.facts import ObjectFacts
from songbag_store.store import SongStore, StoreLike
from songbag_store.terminal import plain_text
from songbag_store.upkeep.change import drop_songs
from songbag_store.windows.spans import Spans
from songbag_store.words import counted

_CHANGED = "is not what was written: its digest is another"
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

    The quick way lists the store once, compares sizes with those in the parts, and reads every tag and the metadata of
    every array. The full way also reads every byte: it compares digests, and checks of every song that its windows are
    finite and add up to the sums in the index. Other processes may read and write at the same time.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        Checked at its snapshot.
    full : bool
        Read every byte, and the files of the other snapshots and of waiting parts too.
    """
    store = SongStore.open(store)
    damages = list(_verify_group(store))
    # Listed before the arrays: a part that is listed here has all its objects by then.
    waiting = _waiting_parts(store) if full else []
    sizes = {entry.key: entry.n_bytes for entry in store.inside.storage.entries(keys.ARRAYS)}
    songs = store.inside.songs(_COLUMNS).sort_by([("fragment", "ascending"), ("row_start", "ascending")])
    runs, start = pc.run_end_encode(songs["fragment"].combine_chunks()), 0
    for fragment, stop in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        damages += _verify_fragment(store, fragment, songs.slice(start, stop - start), sizes, full)
        start = stop
    events = read_events(store.inside.storage, store.uuid) if full else []
    if full:
        damages += [*_verify_failed(store), *_verify_waiting(store, waiting, sizes)]
        keyed = ((keys.snapshot_key(event.snapshot), event) for event in events if not event.whole)
        damages += [Damage(key, event.change.removeprefix(f"{key}: ")) for key, event in keyed]
    return [*damages, *_verify_tags(store, events)]


def not_sealed(store: StoreLike) -> list[str]:
    """Return the keys of the documents that were made before there were seals: one changed bit may go unnoticed."""
    storage = SongStore.open(store).inside.storage
    identity = [] if unseal_document(storage.get(keys.IDENTITY))[1] else [keys.IDENTITY]
    return identity + [keys.tag_key(tag.name) for tag in read_tags(storage) if not tag.is_sealed]


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
            data = store.inside.storage.get(metadata)
            layout = read_layout(data, store.spec)
            if layout.shape[0] != n_rows:
                raise ValueError(f"says {counted(layout.shape[0], 'window')}; its part has {n_rows:,}")
            if hashlib.sha256(data).hexdigest() != objects[metadata]["sha256"]:
                raise ValueError(_CHANGED)
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
    return _CHANGED if changed else None


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
            windows = decode(store.inside.reader.read_all([span])[0], store.spec).astype(np.float64)
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


def _verify_group(store: SongStore) -> Iterator[Damage]:
    """Check the metadata of the Zarr group, which other tools read."""
    try:
        if store.inside.storage.get(keys.GROUP_METADATA) != GROUP_DOCUMENT:
            yield Damage(keys.GROUP_METADATA, "is not what songbag wrote")
    except FileNotFoundError:
        yield Damage(keys.GROUP_METADATA, "is missing: other tools do not find the arrays without it")


def _verify_failed(store: SongStore) -> Iterator[Damage]:
    """Check the parts that hold only songs that failed."""
    rows = store.inside.state.columns(["song_id", "status", "fragment"])
    failed = rows.filter((pc.field("status") != "ok") & pc.field("fragment").is_valid())
    with_windows = set(pc.unique(store.inside.places["fragment"]).to_pylist())
    for fragment in sorted(set(failed["fragment"].to_pylist()) - with_windows):
        try:
            read_part_facts(store.inside.storage, store.uuid, store.spec, fragment)
        except DamagedStore as error:
            yield Damage(error.key, _bare(error), _named(failed.filter(pc.field("fragment") == fragment)))


def _waiting_parts(store: SongStore) -> list[str]:
    """Return the fragments whose parts no snapshot has taken in yet; none if an older snapshot is open."""
    is_newest = store.snapshot == max(store.snapshots(), default=0)
    return sorted(part_names(store.inside.storage) - store.inside.state.parts) if is_newest else []


def _verify_waiting(store: SongStore, fragments: list[str], sizes: dict[str, int]) -> Iterator[Damage]:
    """Check parts that no snapshot has taken in yet, and the objects of their fragments."""
    for fragment in fragments:
        try:
            _, objects = read_part_facts(store.inside.storage, store.uuid, store.spec, fragment)
        except DamagedStore as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # or gc has deleted it since
                yield Damage(error.key, f"{_bare(error)}; the next extract computes its songs again")
            continue
        for key, facts in objects.items():
            if what := _object_fault(store, key, facts, sizes, full=True):
                yield Damage(key, what)


def _verify_tags(store: SongStore, events: list[Event]) -> Iterator[Damage]:
    """Check that every tag is what was written, and pins a snapshot that is there and has the digest it says."""
    storage = store.inside.storage
    digests = {event.snapshot: event.sha256 for event in events if event.whole}
    digests[store.snapshot] = store.inside.state.sha256
    numbers = {0, *store.snapshots()}
    for tag in read_tags(storage):
        if tag.snapshot is None:
            yield Damage(keys.tag_key(tag.name), "is damaged: which snapshot it pins is unknown")
        elif tag.snapshot not in numbers:
            yield Damage(keys.tag_key(tag.name), f"pins snapshot {tag.snapshot}, which is not there")
        elif digests.get(tag.snapshot, tag.sha256) != tag.sha256:
            yield Damage(keys.tag_key(tag.name), f"pins another snapshot {tag.snapshot} than the one that is there")


def unsealed_text(keys: list[str]) -> str:
    """Return what `not_sealed` found as text."""
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return f"not sealed: {', '.join(keys[:3])}{more}. Made before there were seals: a changed bit may not show."


def report(damages: list[Damage]) -> str:
    """Return damages as text, each with the ids of its songs."""
    return "\n".join("\n  song ".join([f"{one.key}: {one.what}", *map(plain_text, one.song_ids)]) for one in damages)
