"""What a writer needs: a store that may be written to, and commits to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pyarrow as pa

from songbag_store.commits.identity import create_identity, read_identity, refuse_foreign_folder
from songbag_store.commits.merge import merge_parts
from songbag_store.commits.snapshots import Change, Snapshot, commit, empty_state, make_snapshot_durable, read_snapshot
from songbag_store.errors import SpecMismatch, StoreNotFound
from songbag_store.format.sealed import Rows
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.location import Location, LocationLike
from songbag_store.storage.storage import probe
from songbag_store.store import Inside, SongStore

SpecChoice = Callable[[FeatureSpec | None], FeatureSpec]
"""From the spec of the store that is there, or None, to the spec that it is to have."""


def open_identity(place: LocationLike) -> SongStore:
    """Open a store without reading its index, for a worker that only adds to it."""
    location = Location.of(place)
    storage = location.storage()
    identity = read_identity(storage)
    return SongStore(location, Inside(storage, identity.uuid, identity.spec, empty_state()))


def open_for_writing(place: LocationLike, spec: FeatureSpec | SpecChoice | None = None) -> SongStore:
    """Open the store of this spec, or create it where nothing is yet.

    Parameters
    ----------
    spec : FeatureSpec or callable, optional
        What the store is to hold, or a function that says so from what it holds (None where there is no store); by
        default what it holds, or the reference recipe for a new one.

    Raises
    ------
    SpecMismatch
        If the store there holds features of another spec.
    StoreInTheWay
        If the place holds something that is not a store.
    BackendRefused
        If the place does not honour put-if-absent.
    """
    location = Location.of(place)
    storage = location.storage()
    try:
        identity = read_identity(storage)
    except StoreNotFound:
        wanted = _choose(spec, None)
        refuse_foreign_folder(storage)
        probe(storage)
        create_identity(storage, wanted)
        identity = read_identity(storage)
    else:
        wanted = _choose(spec, identity.spec)
        identity.refuse_writing(storage.address)
        probe(storage)
    if identity.spec.fingerprint != wanted.fingerprint:
        raise SpecMismatch(
            "the store holds features of another spec",
            identity.spec.differences(wanted),
            place=storage.address,
            remedy="Extract into a new store, or give the options this store was made with (`songbag info`).",
        )
    state = read_snapshot(storage, identity.uuid)
    return SongStore(location, Inside(storage, identity.uuid, identity.spec, state))


def _choose(spec: FeatureSpec | SpecChoice | None, stored: FeatureSpec | None) -> FeatureSpec:
    """Return the spec that a store is to have."""
    if isinstance(spec, FeatureSpec):
        return spec
    return spec(stored) if spec else stored or FeatureSpec()


def without_index(store: SongStore) -> SongStore:
    """Return a store without its index, for a writer that is not to hold it in memory."""
    return SongStore(store.location, dataclasses.replace(store.inside, state=empty_state()))


def commit_parts(store: SongStore, parts: Mapping[str, pa.Table]) -> SongStore:
    """Take the rows of finished parts into a new snapshot and return the store at it.

    Parameters
    ----------
    parts : mapping
        Rows by fragment, as `read_part` gives them, drawn part by part. Those a snapshot has already are left out.
    """

    if not parts:
        make_snapshot_durable(store.inside.storage, store.snapshot)
        return store

    def change(base: Snapshot) -> tuple[Rows, frozenset[str]] | None:
        fresh = [name for name in parts if name not in base.parts]
        if not fresh:
            return None
        return merge_parts(base, lambda: (parts[name] for name in fresh)), base.parts.union(fresh)

    return commit_change(store, change, note="extract")


def commit_change(store: SongStore, change: Change, *, note: str) -> SongStore:
    """Commit a change of the index, see `commit`; return the store at the new snapshot.

    Raises
    ------
    NewerFormat
        If the store may be read by this songbag, and written only by a newer one.
    """
    inside = store.inside
    read_identity(inside.storage).refuse_writing(store.address)
    state = commit(inside.storage, store.uuid, change, note=note)
    return SongStore(store.location, dataclasses.replace(inside, state=state))
