"""Splits of songs into train, validation and test, or into folds: saved, read and checked for leaks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.format.document import Digest, parse_document, read_fields, reason
from songbag_store.format.index import CONTENT, are_parts
from songbag_store.format.sealed import FACTS_KEY, check_seal, seal
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import require_regular, write_whole
from songbag_store.words import counted
from songbag_training.config import LabelConfig
from songbag_training.errors import DamagedRun, LabelError, LeakError, SplitMismatch
from songbag_training.songs.labels import Labels, require_columns
from songbag_training.songs.task import Task, classes_of
from songbag_training.splits.groups import torn
from songbag_training.types import Ints, Label

Subset = Literal["train", "validation", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "validation", "test")

CopyGroups: TypeAlias = tuple[int | None, ...]
"""A number for each song, which its copies have too; None for a song without a copy."""

_COPY_COLUMNS = ("copy_group", "same_audio")
"""Columns of the file that splits from before copies were looked for lack."""

_EARLIER_KEY = b"songbag_split"
"""Where the facts were before splits were sealed."""

_GROUP_ROWS = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _SplitFacts:
    """The metadata of a split's file."""

    digest: Digest
    """Digest of the rows."""
    group: list[str]
    """See `Split`."""
    column: str | None = None
    """See `Split`."""
    reading: LabelConfig = dataclasses.field(default_factory=LabelConfig)
    """See `Split`."""


@dataclasses.dataclass(frozen=True, repr=False)
class Split(Shown):
    """A subset for every labelled song, ordered by song id.

    Attributes
    ----------
    subsets : tuple of str
        Subset of each song: train, validation or test; or, for cross-validation, the name of a fold.
    group : tuple of str
        Columns of the index whose values are each in one subset only.
    copy_group : tuple of int or None, or None
        Songs with the same number are copies of one recording, see `songbag_store.likeness`; None for a song without a
        copy. None as a whole if copies were not looked for when the split was made: then only bytes are compared.
    same_audio : tuple of int or None, or None
        Of these, songs with the same number have the same audio for certain. The others are alike, a suspicion.
    column : str or None
        Column of the index with the labels that it was made by.
    reading : LabelConfig
        How they were read.
    """

    song_ids: tuple[str, ...]
    labels: tuple[Label, ...]
    subsets: tuple[str, ...]
    group: tuple[str, ...] = ()
    copy_group: CopyGroups | None = None
    same_audio: CopyGroups | None = None
    column: str | None = None
    reading: LabelConfig = dataclasses.field(default_factory=LabelConfig)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rows, ordered by song id: equal if and only if songs, labels and subsets are equal."""
        columns: Sequence[Sequence[Any]] = (self.song_ids, self.labels, self.subsets)
        if not _are_ascending(self.song_ids):
            columns = list(zip(*sorted(zip(*columns, strict=True)), strict=True))
        return hashlib.sha256(json.dumps(columns).encode()).hexdigest()

    @property
    def names(self) -> list[str]:
        """The subsets in order: train, validation, test; folds by number, then by name."""
        return sorted(set(self.subsets), key=subset_order)

    @property
    def is_folds(self) -> bool:
        """Whether the subsets are folds instead of train, validation and test."""
        return not set(self.subsets) <= set(SUBSETS)

    def rows_of(self, subset: str) -> list[int]:
        """Return the positions of the songs of one subset."""
        return [row for row, own in enumerate(self.subsets) if own == subset]

    def numbers(self) -> Ints:
        """Return the position of each song's subset in `names`."""
        number_of = {subset: number for number, subset in enumerate(self.names)}
        return np.fromiter(map(number_of.__getitem__, self.subsets), np.int64, len(self.subsets))

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "songs", len(self.song_ids)
        yield from self.counts().items()
        if self.group:
            yield "kept together", ", ".join(self.group)
        yield "digest", self.digest[:12]

    def counts(self) -> dict[str, int]:
        """Return the number of songs of each subset."""
        found = Counter(self.subsets)
        return {subset: found[subset] for subset in (self.names if self.is_folds else SUBSETS)}

    def write(self, path: Path) -> None:
        """Write the split as sealed Parquet: song_id, label, part, copy_group, same_audio; one fact is `digest`."""
        kind = Task((), not all(isinstance(label, str) for label in self.labels)).label_type
        schema = pa.schema([("song_id", pa.string()), ("label", kind), ("part", pa.string())])
        table = pa.table([self.song_ids, self.labels, self.subsets], schema=schema)
        for name, column in self.copies().items():
            table = table.append_column(name, column)
        facts: dict[str, Any] = {"digest": self.digest, "group": list(self.group)}
        facts |= {"column": self.column, "reading": self.reading.to_dict()}
        write_whole(path, seal(table, facts, group_rows=_GROUP_ROWS))

    @classmethod
    def read(cls, split: SplitLike) -> Split:
        """Read a split that `write` wrote. A split that is in memory already is returned as it is.

        Raises
        ------
        DamagedRun
            If the file is missing, is not a split, or was changed after it was written.
        """
        if isinstance(split, Split):
            return split
        try:
            facts, table = _read(Path(split))
            ids, names, subsets = (table[name].to_pylist() for name in ("song_id", "label", "part"))
            labels = tuple(name if isinstance(name, str) else tuple(map(str, name)) for name in names)
            more: dict[str, Any] = {"column": facts.column, "reading": facts.reading}
            more |= {name: _copy_groups(table[name]) for name in _COPY_COLUMNS if name in table.column_names}
            made = cls(tuple(map(str, ids)), labels, tuple(map(str, subsets)), tuple(facts.group), **more)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise DamagedRun(f"is not a split ({reason(error)})", place=str(split)) from error
        if made.digest != facts.digest:
            raise DamagedRun("is not what was written: its rows have another digest", place=str(split))
        return made

    def copies(self) -> dict[str, pa.ChunkedArray]:
        """Return `copy_group` and `same_audio` as columns by their names; nothing if copies were not looked for."""
        found = {name: getattr(self, name) for name in _COPY_COLUMNS}
        return {name: pa.chunked_array([pa.array(own, pa.int64())]) for name, own in found.items() if own is not None}

    def fold(self, name: str) -> Self:
        """Return the split that tests one fold and trains on all others."""
        return dataclasses.replace(self, subsets=tuple("test" if own == name else "train" for own in self.subsets))

    def without(self, subset: str) -> Self:
        """Return the split of all other songs."""
        kept = [row for row, own in enumerate(self.subsets) if own != subset]
        columns = {name: getattr(self, name) for name in ("song_ids", "labels", "subsets", *_COPY_COLUMNS)}
        own: dict[str, Any] = {
            name: tuple(one[row] for row in kept) for name, one in columns.items() if one is not None
        }
        return dataclasses.replace(self, **own)


SplitLike: TypeAlias = Split | str | Path
"""The forms in which a user may give a split; `Split.read` takes them all."""


def _read(path: Path) -> tuple[_SplitFacts, pa.Table]:
    """Read the file of a split; see `Split.read` for its errors."""
    require_regular(path)
    data = path.read_bytes()
    if _EARLIER_KEY not in data:
        check_seal(data)  # before Arrow reads the footer
    file = pq.ParquetFile(pa.BufferReader(data))
    metadata = file.metadata.metadata or {}
    key = _EARLIER_KEY if _EARLIER_KEY in metadata else FACTS_KEY.encode()
    if key != _EARLIER_KEY:
        check_seal(data)
    facts = read_fields(_SplitFacts, parse_document(metadata[key]))
    there = file.schema_arrow.names
    columns = ["song_id", "label", "part", *(name for name in _COPY_COLUMNS if name in there)]
    # No threads: a process that ends while Arrow starts them is aborted.
    return facts, file.read(columns, use_threads=False)


def _copy_groups(column: pa.ChunkedArray) -> CopyGroups:
    """Return a column of copies as a split has it."""
    return tuple(column.cast(pa.int64()).to_pylist())


def _are_ascending(song_ids: Sequence[str]) -> bool:
    """Return whether the song ids are in order and all different."""
    return all(map(operator.lt, song_ids, islice(song_ids, 1, None)))


def subset_order(subset: str) -> tuple[int, int, str]:
    """Return the key that subsets are ordered by: train, validation, test; folds by number, then by name."""
    if subset in SUBSETS:
        return 0, SUBSETS.index(subset), subset
    return (1, int(subset), subset) if subset.isdecimal() else (2, 0, subset)


def apply_split(split: Split, labels: Labels, every_song: pa.Table) -> tuple[Labels, Split]:
    """Return the labelled songs that are in a saved split, and their split: saved subsets, present labels.

    Parameters
    ----------
    split : Split
        Read from a file.
    labels : Labels
        The songs to train on.
    every_song : pyarrow.Table
        All songs of the store that have features, with any label or none.

    Raises
    ------
    SplitMismatch
        If the store no longer has songs of the split, or no song to train on is in it.
    LeakError
        If copies of a recording, or songs of a group, are in two subsets.
    """
    saved = pa.array(split.song_ids, pa.string())
    gone = saved.filter(pc.invert(pc.is_in(saved, value_set=every_song["song_id"].combine_chunks()))).to_pylist()
    if gone:
        raise SplitMismatch(f"the store has no features of {counted(len(gone), 'song')} of the split", gone)
    present = labels.songs["song_id"].combine_chunks()
    places = pc.index_in(present, value_set=saved)
    rows = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False)).tolist()
    if not rows:
        raise SplitMismatch("none of the songs to train on is in the split", present.to_pylist())
    own, kept = labels.take(rows), places.drop_null().to_pylist()
    subsets = tuple(split.subsets[place] for place in kept)
    fields: dict[str, Any] = {"song_ids": tuple(own.songs["song_id"].to_pylist()), "labels": tuple(own.names)}
    fields |= {name: tuple(column.take(pa.array(kept)).to_pylist()) for name, column in split.copies().items()}
    applied = dataclasses.replace(split, subsets=subsets, **fields)
    check_leaks(applied, own.songs)
    return own, applied


def check_trainable(split: Split, classes: Sequence[str], column: str) -> None:
    """Refuse a split that cannot be trained or tested.

    Raises
    ------
    LabelError
        If there is no training song, no test song, or a class without a training song.
    """
    counts = split.counts()
    told = ", ".join(f"{n} {subset}" for subset, n in counts.items())
    for subset in ("train", "test"):
        if not counts[subset]:
            raise LabelError(column, f"no song is in the {subset} subset ({told})", "Make another split.")
    for name, own in balance(split, classes).items():
        if not own["train"]:
            told = ", ".join(f"{n} {subset}" for subset, n in own.items())
            remedy = "A class that is only tested cannot be learned: make another split, or leave it out with `where`."
            raise LabelError(column, f"the class {name!r} has no song in the train subset ({told})", remedy)


def check_leaks(split: Split, songs: pa.Table) -> None:
    """Refuse a split that has a song, one recording, or a value of a group column in two subsets.

    One recording is the same bytes, of which the songs may be parts, or the same audio by `Split.same_audio`. Songs
    that are alike are only suspected: `songbag_training.splits.notes` tells of them.

    Parameters
    ----------
    split : Split
        Any split, also one that songbag did not make.
    songs : pyarrow.Table
        Rows of the index with `song_id`, `content_sha256` and the columns of `split.group`.

    Raises
    ------
    LeakError
        Naming the songs.
    """
    if not _are_ascending(split.song_ids):
        twice = [song_id for song_id, n in Counter(split.song_ids).items() if n > 1]
        if twice:
            raise LeakError("songs are listed more than once", twice, "Leave each in one subset alone.")
    require_columns(songs.schema, split.group, "group of the split")
    subsets = split.numbers()
    ids, listed = songs["song_id"].combine_chunks(), pa.array(split.song_ids, pa.string())
    if not ids.equals(listed):
        # Position -1, of songs that are not in the split, is that of the appended -1.
        places = pc.index_in(ids, value_set=listed).fill_null(-1).to_numpy(zero_copy_only=False)
        subsets = np.append(subsets, -1)[places]
    some_parts = pc.any(are_parts(songs), min_count=0).as_py()
    same = "parts of one file, or byte-identical recordings, are" if some_parts else "byte-identical recordings are"
    _refuse_torn(same, songs[CONTENT], subsets, ids)
    if (audio := split.copies().get("same_audio")) is not None:
        _refuse_torn("recordings with the same audio are", audio, split.numbers(), listed)
    for column in split.group:
        option = f" --group {shlex.quote(column)}"
        _refuse_torn(f"songs of the same {column!r} are", songs[column], subsets, ids, option)


def _refuse_torn(what: str, column: pa.ChunkedArray, subsets: Ints, song_ids: pa.Array, option: str = "") -> None:
    """Refuse a value of a column in two subsets; the option of `songbag split` keeps it in one."""
    rows, values = torn(column, subsets)
    if len(rows):
        first = rows[values == values.min()]
        _, sides = np.unique(subsets[first], return_index=True)
        # One song of each subset comes first, because a message names only a few.
        members = [*first[sides], *np.delete(first, sides)]
        remedy = f"Put them into one subset; `songbag split{option}` makes a split that keeps them together."
        raise LeakError(f"{what} in two subsets", song_ids.take(pa.array(members)).to_pylist(), remedy)


def balance(split: Split, classes: Sequence[str]) -> dict[str, Counter[str]]:
    """Return how many songs of each class are in each subset."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for (label, subset), n in Counter(zip(split.labels, split.subsets, strict=True)).items():
        for name in classes_of(label):
            counts[name][subset] += n
    return counts
