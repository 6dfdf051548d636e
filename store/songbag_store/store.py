"""`SongStore`: a store opened at one snapshot, for everyone who reads; and what a writer needs to begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.identity import create_identity, read_identity, refuse_foreign_folder, refuse_writing
from songbag_store.commits.merge import merge_parts
from songbag_store.commits.snapshots import (
    Change,
    Snapshot,
    commit,
    make_snapshot_durable,
    read_snapshot,
    snapshot_numbers,
)
from songbag_store.errors import SongNotFound, SpecMismatch, StoreNotFound, UsageError
from songbag_store.format import keys
from songbag_store.format.encoding import decode
from songbag_store.format.facts import TagFacts
from songbag_store.format.index import PLACE_COLUMNS, empty_index, keep_rows
from songbag_store.format.sealed import Rows
from songbag_store.format.spec import FeatureSpec
from songbag_store.sql import query
from songbag_store.storage.location import Location, LocationLike
from songbag_store.storage.storage import KeyExists, Storage, probe
from songbag_store.types import FloatWindows
from songbag_store.windows.cache import FragmentCache
from songbag_store.windows.chunk_memory import ChunkMemory
from songbag_store.windows.reader import FragmentReader
from songbag_store.windows.spans import Spans

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from songbag_store.bags.bags import Bags

SpecChoice = Callable[[FeatureSpec | None], FeatureSpec]
"""From the spec of the store that is there, or None, to the spec that it is to have."""


class SongStore:
    """The songs of one snapshot: their index and their windows.

    A reader keeps the snapshot it opened, whatever is committed meanwhile. Make one with `open`.

    Attributes
    ----------
    location : Location
        Where the store lies and how it is reached.
    uuid : str
        Identity of the store, made at creation.
    spec : FeatureSpec
        What was computed of every song.
    storage : Storage
        Where the objects lie.

    Examples
    --------
    >>> store = SongStore.open("my-store")
    >>> store.songs(where="duration_s > 60")["song_id"].tolist()
    >>> store.windows("album/song.mp3").shape
    (23, 13, 216)
    """

    def __init__(
        self,
        location: Location,
        storage: Storage,
        store_uuid: str,
        spec: FeatureSpec,
        snapshot: Snapshot,
        cache: FragmentCache | None = None,
        memory: ChunkMemory | None = None,
    ) -> None:
        self.location = location
        self.storage = storage
        self._cache = cache
        self._memory = memory
        self.uuid = store_uuid
        self.spec = spec
        self._snapshot = snapshot

    @classmethod
    def open(cls, store: StoreLike, *, snapshot: int | None = None) -> SongStore:
        """Open a store at its newest snapshot, or at an earlier one.

        Parameters
        ----------
        store : str, pathlib.Path, Location or SongStore
            The store's folder, or ``s3://``, ``gs://`` or ``az://`` with a bucket and a prefix; a `Location` says more
            of how it is reached. A store that is open is returned as it is.
        snapshot : int, optional
            A number that `songbag info` lists.

        Raises
        ------
        StoreNotFound
            If there is no store, or no such snapshot.
        NewerFormat
            If the store was written for a newer songbag.
        DamagedStore
            If `store.json` or the snapshot is not what was written.
        """
        if isinstance(store, SongStore):
            return store if snapshot is None or snapshot == store.snapshot else store.at_snapshot(snapshot)
        location = Location.of(store, snapshot)
        opened = cls.open_in(location.storage(), location.snapshot, location)
        if location.cache_dir is not None and location.is_remote:
            opened._cache = FragmentCache(Path(location.cache_dir), location.cache_bytes)
        return opened

    @classmethod
    def open_in(cls, storage: Storage, snapshot: int | None = None, location: Location | None = None) -> Self:
        """Open the store in a storage; see `open`."""
        identity = read_identity(storage)
        opened = read_snapshot(storage, identity.uuid, snapshot)
        return cls(location or Location(storage.address), storage, identity.uuid, identity.spec, opened)

    @classmethod
    def open_identity(cls, location: LocationLike) -> Self:
        """Open a store without reading its index, for a worker that only adds to it."""
        location = Location.of(location)
        storage = location.storage()
        identity = read_identity(storage)
        nothing = Snapshot(0, empty_index(), frozenset())
        return cls(location, storage, identity.uuid, identity.spec, nothing)

    @classmethod
    def open_for_writing(cls, location: LocationLike, spec: FeatureSpec | SpecChoice | None = None) -> Self:
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
        location = Location.of(location)
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
            refuse_writing(identity, storage.address)
            probe(storage)
        if identity.spec.fingerprint != wanted.fingerprint:
            raise SpecMismatch(
                "the store holds features of another spec",
                identity.spec.differences(wanted),
                place=storage.address,
                remedy="Extract into a new store, or give the options this store was made with (`songbag info`).",
            )
        return cls(location, storage, identity.uuid, identity.spec, read_snapshot(storage, identity.uuid))

    def commit_parts(self, parts: Mapping[str, pa.Table]) -> Self:
        """Take the rows of finished parts into a new snapshot and return the store at it.

        Parameters
        ----------
        parts : mapping
            Rows by fragment, as `read_part` gives them, drawn part by part. Those a snapshot has
            already are left out.
        """
        if not parts:
            make_snapshot_durable(self.storage, self.snapshot)
            return self

        def change(base: Snapshot) -> tuple[Rows, frozenset[str]] | None:
            fresh = [name for name in parts if name not in base.parts]
            if not fresh:
                return None
            return merge_parts(base, lambda: (parts[name] for name in fresh)), base.parts.union(fresh)

        return self.commit_change(change, note="extract")

    def commit_change(self, change: Change, *, note: str) -> Self:
        """Commit a change of the index, see `commit`; return the store at the new snapshot.

        Raises
        ------
        NewerFormat
            If the store may be read by this songbag, and written only by a newer one.
        """
        refuse_writing(read_identity(self.storage), self.address)
        return self._at(commit(self.storage, self.uuid, change, note=note))

    def without_index(self) -> Self:
        """Return this store without its index, for a writer that is not to hold it in memory."""
        return self._at(Snapshot(0, empty_index(), frozenset()))

    def refreshed(self) -> Self:
        """Return this store at its newest snapshot."""
        return self._at(read_snapshot(self.storage, self.uuid))

    def at_snapshot(self, number: int) -> Self:
        """Return this store at another snapshot."""
        return self._at(read_snapshot(self.storage, self.uuid, number))

    def remembering(self, limit_bytes: int) -> Self:
        """Return this store with a memory: what is read of it stays, as stored, up to so many bytes."""
        memory = ChunkMemory(limit_bytes)
        return type(self)(self.location, self.storage, self.uuid, self.spec, self._snapshot, self._cache, memory)

    def _at(self, snapshot: Snapshot) -> Self:
        return type(self)(self.location, self.storage, self.uuid, self.spec, snapshot, self._cache, self._memory)

    @property
    def address(self) -> str:
        """The store's address, for messages."""
        return self.storage.address

    @property
    def snapshot(self) -> int:
        """Number of the snapshot that is open; 0 before the first commit."""
        return self._snapshot.number

    @property
    def snapshot_sha256(self) -> str:
        """Digest of the snapshot's file."""
        return self._snapshot.sha256

    @property
    def parts(self) -> frozenset[str]:
        """Parts whose rows this snapshot has taken in."""
        return self._snapshot.parts

    @property
    def index(self) -> pa.Table:
        """The whole index, one row a song, songs that failed included."""
        return self._snapshot.index

    @property
    def n_rows(self) -> int:
        """Songs of the index, those that failed included; nothing is decoded."""
        return self._snapshot.n_rows

    @property
    def schema(self) -> pa.Schema:
        """The columns of the index; nothing is decoded."""
        return self._snapshot.schema

    def columns(self, names: list[str]) -> pa.Table:
        """Return some columns of the index, in less time and memory than all of them take."""
        return self._snapshot.columns(names)

    def iter_columns(self, names: list[str]) -> Iterator[pa.Table]:
        """Yield some columns of the index in its order, at most 131,072 rows at a time where it has just been read."""
        return self._snapshot.pieces(names)

    def snapshots(self) -> list[int]:
        """Return the numbers of all snapshots of the store, ascending."""
        return snapshot_numbers(self.storage)

    def select_songs(self, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the index rows of the songs that have features, as Arrow.

        Parameters
        ----------
        where : str, optional
            A SQL expression over the columns of the index.
        columns : sequence of str, optional
            Only these columns, in less time and memory than all of them take.

        Raises
        ------
        songbag_store.errors.QueryError
            If the expression is not one.
        """
        if where is not None:
            return query.filter_songs(self._snapshot.dataset(), where, columns=columns)
        rows = self.index if columns is None else self.columns(list(dict.fromkeys([*columns, "status"])))
        ok = keep_rows(rows, pc.equal(rows["status"], "ok"))
        return ok if columns is None else ok.select(columns)

    def songs(self, where: str | None = None) -> pd.DataFrame:
        """Return the index rows of the songs that have features, as pandas; see `select_songs`."""
        frame: pd.DataFrame = self.select_songs(where).to_pandas()
        return frame

    def sql(self, sql: str) -> pd.DataFrame:
        """Return the result of one SELECT over `songs`, `failures` and `"index"`.

        Raises
        ------
        songbag_store.errors.QueryError
            If the text is not one SELECT, or the database refuses it.
        """
        frame: pd.DataFrame = self.select(sql).to_pandas()
        return frame

    def select(self, sql: str) -> pa.Table:
        """Return the result of one SELECT as Arrow; see `sql`."""
        return query.select(self._snapshot.dataset(), sql)

    @cached_property
    def reader(self) -> FragmentReader:
        """The reader of windows as stored, for whoever reads many songs at once."""
        cache = self._cache
        cached = None if cache is None else partial(cache.open, self.storage, self.uuid, self.spec)
        return FragmentReader(self.storage, self.spec, cached, self._memory)

    @cached_property
    def _places(self) -> pa.Table:
        """Where the windows of every song lie."""
        return self.select_songs(columns=PLACE_COLUMNS)

    def spans(self, songs: pa.Table) -> Spans:
        """Return where the windows of some rows of the index lie, in the order of the rows."""
        return Spans.of(songs)

    def windows(self, song_id: str) -> FloatWindows:
        """Return the windows of one song.

        Returns
        -------
        windows : float32, shape (N, C, T)
            ``C`` coefficients or bands (deltas behind them), ``T`` frames.

        Raises
        ------
        SongNotFound
            If the snapshot has no features of this song.
        DamagedStore
            If they are not what was written.
        """
        row = self._places.filter(pc.field("song_id") == song_id)
        if row.num_rows == 0:
            raise SongNotFound(song_id, self.address)
        return decode(self.reader.read_all(self.spans(row))[0])

    def iter_windows(self, songs: Iterable[str] | None = None) -> Iterator[tuple[str, FloatWindows]]:
        """Yield song id and windows of some songs, or of all, one song in memory at a time."""
        table = self._places
        if songs is not None:
            table = table.filter(pc.is_in(table["song_id"], value_set=pa.array(list(songs), pa.string())))
        for span in self.spans(table):
            yield span.song_id, decode(self.reader.read_all([span])[0])

    def select_ids(self, song_ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the index rows of some songs, in the order given; all columns or some.

        Raises
        ------
        SongNotFound
            If the snapshot has no features of one.
        """
        songs = self.select_songs(columns=columns)
        rows = pc.index_in(pa.array(song_ids, pa.string()), value_set=songs["song_id"].combine_chunks())
        if rows.null_count:
            raise SongNotFound(song_ids[rows.to_pylist().index(None)], self.address)
        return songs.take(rows)

    def bags(
        self,
        songs: str | Sequence[str] | None = None,
        labels: str | npt.ArrayLike | None = None,
        *,
        bag_size: int = 16,
        batch_size: int = 8,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Bags:
        """Return bags of windows in shuffled batches of NumPy arrays, for any learner; see `Bags`.

        Parameters
        ----------
        songs : sequence of str or str, optional
            Song ids, or a SQL expression over the index; by default all songs that have features.
        labels : array, shape (songs, ...), or str, optional
            A label for each song in the order given, or the column of the index that holds them.

        Raises
        ------
        SongNotFound
            If the snapshot has no features of a song.
        UsageError
            If songs and labels do not make bags.

        Examples
        --------
        >>> bags = store.bags("duration_s > 60", labels="genre", bag_size=16, batch_size=32)
        >>> next(iter(bags)).windows.shape
        (32, 16, 13, 216)
        """
        from songbag_store.bags.bags import Bags, column_labels

        columns: list[str] | None = list(PLACE_COLUMNS)
        if isinstance(labels, str) and labels not in PLACE_COLUMNS:
            columns = [*PLACE_COLUMNS, labels] if labels in self.schema.names else None
        if songs is None or isinstance(songs, str):
            table = self.select_songs(songs, columns)
        else:
            table = self.select_ids(songs, columns)
        given = column_labels(table, labels) if isinstance(labels, str) else labels
        return Bags(self.reader, table, given, bag_size=bag_size, batch_size=batch_size, seed=seed, shard=shard)

    def tag(self, name: str, facts: dict[str, Any] | None = None) -> None:
        """Pin this snapshot against deletion under a name, once.

        Parameters
        ----------
        name : str
            Lower-case letters, digits, ``.``, ``_`` and ``-``; at most 100.
        facts : dict, optional
            JSON values that say who pinned it.

        Raises
        ------
        UsageError
            If the name is not one, or is taken, or the facts are not JSON.
        StoreNotFound
            If `songbag gc` deleted this snapshot since it was opened.
        """
        if not keys.is_tag(name):
            raise UsageError(f"{name!r} is not a tag", place="tag", remedy="Use a-z, 0-9, '.', '_' and '-'.")
        tag = TagFacts(snapshot=self.snapshot, sha256=self.snapshot_sha256, said=facts or {})
        try:
            self.storage.create(keys.tag_key(name), tag.to_json())
        except ValueError as error:
            raise UsageError(f"the facts cannot be kept: {error}", place="tag") from None
        except KeyExists:
            raise UsageError(f"the tag {name!r} exists already", place=self.address) from None
        # gc looks for tags after it has deleted a snapshot; whichever of the two comes second sees the other.
        if self.snapshot and self.snapshot not in self.snapshots():
            self.storage.delete(keys.tag_key(name))
            what = f"snapshot {self.snapshot} is being deleted by `songbag gc`"
            raise StoreNotFound(what, place=self.address, remedy="Open the store at a newer snapshot.")


def open(store: StoreLike, *, snapshot: int | None = None) -> SongStore:
    """Open a store at its newest snapshot, or at an earlier one; see `SongStore.open`."""
    return SongStore.open(store, snapshot=snapshot)


StoreLike: TypeAlias = SongStore | Location | str | Path
"""The forms in which a user may give a store; `SongStore.open` takes them all."""


def _choose(spec: FeatureSpec | SpecChoice | None, stored: FeatureSpec | None) -> FeatureSpec:
    """Return the spec that a store is to have."""
    if isinstance(spec, FeatureSpec):
        return spec
    return spec(stored) if spec else stored or FeatureSpec()
