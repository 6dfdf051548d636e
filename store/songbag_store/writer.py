"""What a writer does with a store: open or create it, and commit to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pyarrow as pa

from songbag_store.commits.identity import create_identity, read_identity, refuse_foreign_folder
from songbag_store.commits.merge import merge_parts
from songbag_store.commits.parts import finished_parts
from songbag_store.commits.snapshots import Change, Snapshot, commit, empty_state, make_snapshot_durable, read_snapshot
from songbag_store.commits.waiting import Pace, WaitingParts
from songbag_store.errors import SpecMismatch, StoreError, StoreNotFound
from songbag_store.format.index import REPLACES, join_rows
from songbag_store.format.sealed import Rows
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.location import Location, LocationLike
from songbag_store.storage.storage import probe
from songbag_store.store import SongStore
from songbag_store.windows.inside import Inside

SpecChoice = Callable[[FeatureSpec | None], FeatureSpec]
"""Takes the spec of the store that is there, or None; returns the spec that it must have."""


def open_identity(place: LocationLike) -> SongStore:
    """Open a store without reading its index, for a worker that only adds to it."""
    location = Location.of(place)
    storage = location.storage()
    identity = read_identity(storage)
    return SongStore(location, Inside(storage, identity.uuid, identity.spec, empty_state()))


def open_for_writing(place: LocationLike, spec: FeatureSpec | SpecChoice | None = None) -> SongStore:
    """Open the store of this spec, or create it if there is none.

    Parameters
    ----------
    spec : FeatureSpec or callable, optional
        The spec of the store, or a function that returns it and takes the present one (None if there is no store). By
        default the present one, or the reference recipe for a new store.

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
        wanted = spec(None) if callable(spec) else spec or FeatureSpec()
        refuse_foreign_folder(storage)
        probe(storage)
        create_identity(storage, wanted)
        identity = read_identity(storage)
    else:
        wanted = spec(identity.spec) if callable(spec) else spec or identity.spec
        identity.refuse_writing(storage.address)
        probe(storage)
    if identity.spec.fingerprint != wanted.fingerprint:
        what, differences = "the store holds features of another spec", identity.spec.differences(wanted)
        remedy = "Extract into a new store, or give the options this store was made with (`songbag info`)."
        raise SpecMismatch(what, differences, place=storage.address, remedy=remedy)
    state = read_snapshot(storage, identity.uuid)
    return SongStore(location, Inside(storage, identity.uuid, identity.spec, state))


def without_index(store: SongStore) -> SongStore:
    """Return a store without its index, for a writer that must not hold it in memory."""
    return SongStore(store.location, dataclasses.replace(store.inside, state=empty_state()))


def take_over(store: SongStore) -> tuple[SongStore, list[str]]:
    """Commit the parts that an earlier run finished and that are in no snapshot.

    Returns
    -------
    store : SongStore
        At the snapshot that has them.
    left_out : list of str
        Notes on the parts whose columns do not fit the index; their songs are computed again.
    """
    state = store.inside.state
    parts, _ = finished_parts(store.inside.storage, store.uuid, store.spec, state.parts)
    fitting, left_out, columns = {}, [], state.content.schema.empty_table()
    for name, rows in parts.items():
        try:
            columns = join_rows([columns, rows.slice(0, 0).drop_columns([REPLACES])])
        except StoreError as error:
            left_out.append(f"part {name} of an earlier run left out: {error.what}")
        else:
            fitting[name] = rows
    return commit_parts(store, fitting), left_out


def commit_parts(
    store: SongStore, parts: Mapping[str, pa.Table], *, note: str = "extract", run: str = "", ended: bool = False
) -> SongStore:
    """Commit the rows of finished parts and return the store at the new snapshot.

    Parameters
    ----------
    parts : mapping
        Rows by fragment, as `read_part` gives them, read one by one. Parts that a snapshot has already are left out.
    note, run, ended
        As for `songbag_store.commits.snapshots.commit`.
    """
    if not parts:
        make_snapshot_durable(store.inside.storage, store.snapshot)
        return store

    def change(base: Snapshot) -> tuple[Rows, frozenset[str]] | None:
        fresh = [name for name in parts if name not in base.parts]
        if not fresh:
            return None
        return merge_parts(base, lambda: (parts[name] for name in fresh)), base.parts.union(fresh)

    return commit_change(store, change, note=note, run=run, ended=ended)


class Committer:
    """Commits the finished parts of one run, the less often the larger the index; see `Pace` and `WaitingParts`.

    Memory: the rows that wait, as `WaitingParts` says, and during a commit the files of the last snapshot and of the
    new one.

    Parameters
    ----------
    store : SongStore
    note : str
        Description of the commits in the history.
    run : str
        What they name as their run.
    """

    def __init__(self, store: SongStore, *, note: str, run: str) -> None:
        self._store, self._note, self._run = store, note, run
        self._pace = Pace()
        self._waiting = self._nothing()

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._pace.is_due

    @property
    def n_songs(self) -> int:
        """How many songs wait for the next commit."""
        return self._waiting.n_songs

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Take in the rows of a part, which is durable."""
        self._waiting.add(fragment, rows)

    def commit(self, *, ended: bool) -> SongStore:
        """Commit what waits, and return the store at the new snapshot; `ended` if the run ends with this."""
        with self._pace.commit():
            store = commit_parts(self._store, self._waiting, note=self._note, run=self._run, ended=ended)
        self._waiting = self._nothing()
        # Otherwise Arrow keeps the memory that the commit took.
        pa.default_memory_pool().release_unused()
        return store

    def _nothing(self) -> WaitingParts:
        return WaitingParts(self._store.inside.storage, self._store.uuid, self._store.spec)


def commit_change(store: SongStore, change: Change, *, note: str, run: str = "", ended: bool = False) -> SongStore:
    """Commit a change of the index, see `commit`; return the store at the new snapshot.

    Raises
    ------
    NewerFormat
        If only a newer songbag may write to the store.
    """
    read_identity(store.inside.storage).refuse_writing(store.address)
    state = commit(store.inside.storage, store.uuid, change, note=note, run=run, ended=ended)
    return SongStore(store.location, dataclasses.replace(store.inside, state=state))
