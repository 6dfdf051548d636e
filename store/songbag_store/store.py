"""`SongStore`: a store that is open at one snapshot, for reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.commits.identity import read_identity
from songbag_store.commits.snapshots import read_snapshot, snapshot_numbers
from songbag_store.errors import SongNotFound, StoreNotFound, UsageError
from songbag_store.format import keys
from songbag_store.format.array import decode
from songbag_store.format.facts import TagFacts
from songbag_store.format.index import PLACE_COLUMNS
from songbag_store.format.spec import FeatureSpec
from songbag_store.sql.shown import Shown
from songbag_store.storage.location import Location, snapshot_number
from songbag_store.storage.storage import KeyExists, Storage
from songbag_store.types import FloatWindows
from songbag_store.windows.inside import Inside, Names, given_texts
from songbag_store.words import MOST_COMPARED, did_you_mean, question

if TYPE_CHECKING:
    import pandas as pd

    from songbag_store.bags.bags import Bags


class SongStore(Shown):
    """The songs of one snapshot: their index and their windows.

    Make one with `open`. It stays at its snapshot when others commit. Tables come as pandas, or as Arrow with
    ``arrow=True``.

    Attributes
    ----------
    location : Location
        Address of the store and how it is reached.
    inside : Inside
        For songbag's own modules.

    Examples
    --------
    >>> store = SongStore.open("my-store")
    >>> store.songs(where="duration_s > 60")["song_id"].tolist()
    >>> store.windows("album/song.mp3").shape
    (23, 13, 216)
    """

    def __init__(self, location: Location, inside: Inside) -> None:
        self.location = location
        self.inside = inside

    @classmethod
    def open(cls, store: StoreLike, *, snapshot: int | None = None) -> SongStore:
        """Open a store at its newest snapshot, or at an earlier one.

        Parameters
        ----------
        store : str, pathlib.Path, Location or SongStore
            The store's folder, or ``s3://``, ``gs://`` or ``az://`` with a bucket and a prefix. A `Location` also has
            the options of an object store. An open store is returned as it is.
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
            return store if snapshot is None or snapshot == store.snapshot else store.at(snapshot)
        location = Location.of(store, snapshot)
        opened = open_in(location.storage(), location.snapshot, location)
        if location.cache_dir is None or not location.is_remote:
            return opened
        from songbag_store.windows.cache import FragmentCache

        cache = FragmentCache(Path(location.cache_dir), location.cache_bytes)
        return cls(location, dataclasses.replace(opened.inside, cache=cache))

    def at(self, snapshot: int | None = None) -> SongStore:
        """Return this store at another snapshot, by default at the newest."""
        state = read_snapshot(self.inside.storage, self.uuid, snapshot_number(snapshot))
        return SongStore(self.location, dataclasses.replace(self.inside, state=state))

    def remembering(self, limit_bytes: int) -> SongStore:
        """Return this store with a memory that keeps what is read, as stored, up to a number of bytes."""
        from songbag_store.windows.memory import ChunkMemory

        return SongStore(self.location, dataclasses.replace(self.inside, memory=ChunkMemory(limit_bytes)))

    @property
    def address(self) -> str:
        """The store's address."""
        return self.inside.storage.address

    @property
    def uuid(self) -> str:
        """Identity of the store, made at creation."""
        return self.inside.uuid

    @property
    def spec(self) -> FeatureSpec:
        """How the features were computed."""
        return self.inside.spec

    @property
    def snapshot(self) -> int:
        """Number of the snapshot that is open; 0 before the first commit."""
        return self.inside.state.number

    def snapshots(self) -> list[int]:
        """Return the numbers of all snapshots of the store, ascending."""
        return snapshot_numbers(self.inside.storage)

    @overload
    def index(self, columns: Names = None, *, arrow: Literal[False] = False) -> pd.DataFrame: ...
    @overload
    def index(self, columns: Names = None, *, arrow: Literal[True]) -> pa.Table: ...
    def index(self, columns: Names = None, *, arrow: bool = False) -> Any:
        """Return the index: a row for each song, also for songs that failed.

        Parameters
        ----------
        columns : sequence of str, optional
            Only these, which takes less time and memory.
        """
        names = self.inside.columns(columns)
        table = self.inside.state.index if names is None else self.inside.state.columns(names)
        return table if arrow else table.to_pandas()

    @overload
    def songs(
        self, where: str | None = None, *, ids: Names = None, columns: Names = None, arrow: Literal[False] = False
    ) -> pd.DataFrame: ...
    @overload
    def songs(
        self, where: str | None = None, *, ids: Names = None, columns: Names = None, arrow: Literal[True]
    ) -> pa.Table: ...
    def songs(self, where: str | None = None, *, ids: Names = None, columns: Names = None, arrow: bool = False) -> Any:
        """Return the index rows of the songs that have features.

        Parameters
        ----------
        where : str, optional
            A SQL expression over the columns of the index.
        ids : sequence of str, optional
            Only these songs, in the order given.
        columns : sequence of str, optional
            Only these columns, which takes less time and memory.

        Raises
        ------
        QueryError
            If `where` is not an expression.
        SongNotFound
            If there are no features of one of `ids`.
        UsageError
            If the index has no such column.
        """
        inside, index = self.inside, self.inside.state.content
        columns, ids = inside.columns(columns), None if ids is None else given_texts(ids, "ids")
        # Songs are chosen by their ids, so this column is read too; and a query has one column at least.
        more = ["song_id"] if ids is not None or not columns else []
        read = None if columns is None else list(dict.fromkeys([*columns, *more]))
        if where is None:
            table = inside.songs(read)
        else:
            from songbag_store.sql.query import filter_songs

            table = filter_songs(index.dataset(), where, columns=read)
        if ids is not None:
            rows = pc.index_in(pa.array(ids, pa.string()), value_set=table["song_id"].combine_chunks())
            if rows.null_count:
                raise self._without(ids[rows.to_pylist().index(None)])
            table = table.take(rows)
        table = table if columns is None else table.select(columns)
        return table if arrow else table.to_pandas()

    @overload
    def sql(self, query: str, *, arrow: Literal[False] = False) -> pd.DataFrame: ...
    @overload
    def sql(self, query: str, *, arrow: Literal[True]) -> pa.Table: ...
    def sql(self, query: str, *, arrow: bool = False) -> Any:
        """Return the result of one SELECT over `songs`, `failures`, `window_labels` and `"index"`.

        `window_labels` has a row for each window and label that a segment gives it, see `songbag.relabel`: `song_id`,
        `window`, `start_s` and `end_s` in the song, `label`, and the `share` of the window that has it.

        In pandas a DECIMAL is float64, and a HUGEINT (a sum) is int64 if it fits; Arrow has all digits of both.

        Raises
        ------
        QueryError
            If the text is not one SELECT, the database refuses it, or the result is too large for memory.
        """
        from songbag_store.sql.query import asking

        with asking(self.inside.state.content.dataset(), query, spec=self.spec) as answer:
            return answer.table() if arrow else answer.frame()

    def windows(self, song_id: str) -> FloatWindows:
        """Return the windows of one song.

        Returns
        -------
        windows : float32, shape (N, C, T)
            ``C`` coefficients or bands (then their deltas), ``T`` frames.

        Raises
        ------
        SongNotFound
            If the snapshot has no features of this song.
        DamagedStore
            If they are not what was written.
        """
        ((_, windows),) = self.iter_windows([song_id])
        return windows

    def iter_windows(self, songs: Iterable[str] | None = None) -> Iterator[tuple[str, FloatWindows]]:
        """Yield song id and windows of some songs, or of all, one song in memory at a time.

        Each song comes once, in the order of the index.

        Raises
        ------
        SongNotFound
            If the snapshot has no features of one of the songs; before the first.
        """
        from songbag_store.windows.spans import Spans

        table = self.inside.places
        if songs is not None:
            wanted = given_texts(songs, "songs")
            table = table.filter(pc.is_in(table["song_id"], value_set=pa.array(wanted, pa.string())))
            # The names that were found are few: looking each up among all songs would take long in a large store.
            if table.num_rows < len(found := dict.fromkeys(wanted)):
                known = set(table["song_id"].to_pylist())
                raise self._without(next(name for name in found if name not in known))
        for span in Spans.of(table):
            yield span.song_id, decode(self.inside.reader.read_all([span])[0], self.spec)

    def bags(
        self,
        songs: str | Sequence[str] | None = None,
        labels: str | npt.ArrayLike | None = None,
        *,
        bag_size: int = 16,
        batch_size: int = 8,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        rates: npt.ArrayLike | None = None,
    ) -> Bags:
        """Return bags of windows in shuffled batches of NumPy arrays, for any learner; see `Bags`.

        Parameters
        ----------
        songs : sequence of str or str, optional
            Song ids, or a SQL expression over the index; by default all songs that have features.
        labels : array, shape (songs, ...), or str, optional
            A label for each song in the order given, or the column of the index that holds them.
        rates : array, shape (songs,), optional
            How often each of them is to come in an epoch, on the average; by default once.

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
            columns = [*PLACE_COLUMNS, labels] if labels in self.inside.state.content.schema.names else None
        where, ids = (songs, None) if songs is None or isinstance(songs, str) else (None, songs)
        table = self.songs(where, ids=ids, columns=columns, arrow=True)
        given = column_labels(table, labels) if isinstance(labels, str) else labels
        return Bags(
            self.inside.reader,
            table,
            given,
            bag_size=bag_size,
            batch_size=batch_size,
            seed=seed,
            shard=shard,
            rates=rates,
        )

    def tag(self, name: str, facts: dict[str, Any] | None = None) -> None:
        """Protect this snapshot against `songbag gc`, under a name that is new.

        Parameters
        ----------
        name : str
            Lower-case letters, digits, ``.``, ``_`` and ``-``; at most 100.
        facts : dict, optional
            JSON values that say who needs it.

        Raises
        ------
        UsageError
            If the name is not allowed or is taken, or the facts are not JSON.
        StoreNotFound
            If `songbag gc` has deleted this snapshot.
        """
        if not keys.is_tag(name):
            raise UsageError(f"{name!r} is not a tag", place="tag", remedy="Use a-z, 0-9, '.', '_' and '-'.")
        tag = TagFacts(snapshot=self.snapshot, sha256=self.inside.state.sha256, said=facts or {})
        try:
            self.inside.storage.create(keys.tag_key(name), tag.to_json())
        except ValueError as error:
            raise UsageError(f"the facts cannot be kept: {error}", place="tag") from None
        except KeyExists:
            raise UsageError(f"the tag {name!r} exists already", place=self.address) from None
        # gc looks for tags after it has deleted a snapshot, so at least one of the two sees the other.
        if self.snapshot and self.snapshot not in self.snapshots():
            self.inside.storage.delete(keys.tag_key(name))
            what = f"snapshot {self.snapshot} is being deleted by `songbag gc`"
            raise StoreNotFound(what, place=self.address, remedy="Open the store at a newer snapshot.")

    def _without(self, song_id: str) -> SongNotFound:
        """Return the error for a song that has no features, with the ids that are like its own."""
        ids = self.inside.places["song_id"]
        # Often only the folders in front of the name are missing.
        named = ids.filter(pc.ends_with(ids, f"/{song_id}")).slice(0, 3).to_pylist()
        meant = question(named) or did_you_mean(song_id, ids.slice(0, MOST_COMPARED).to_pylist())
        return SongNotFound(song_id, self.address, meant)

    def _facts(self) -> Iterator[tuple[str, object]]:
        songs = self.inside.songs(["n_windows"])
        yield "store", self.address
        yield "snapshot", self.snapshot
        yield "songs", songs.num_rows
        yield "failed", self.inside.state.content.n_rows - songs.num_rows
        yield "windows", pc.sum(songs["n_windows"]).as_py() or 0
        yield "features", self.spec.in_words()


def open(store: StoreLike, *, snapshot: int | None = None) -> SongStore:
    """Open a store at its newest snapshot, or at an earlier one; see `SongStore.open`."""
    return SongStore.open(store, snapshot=snapshot)


StoreLike: TypeAlias = SongStore | Location | str | Path
"""The forms in which a user may give a store; `SongStore.open` takes them all."""


def open_in(storage: Storage, snapshot: int | None = None, location: Location | None = None) -> SongStore:
    """Open the store in a storage; see `SongStore.open`."""
    identity = read_identity(storage)
    state = read_snapshot(storage, identity.uuid, snapshot)
    return SongStore(location or Location(storage.address), Inside(storage, identity.uuid, identity.spec, state))
