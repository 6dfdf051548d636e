"""Splits of songs into train, validation and test, or into folds: saved, read and checked for leaks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.format.document import Digest, parse_document, read_fields, reason
from songbag_store.format.index import CONTENT
from songbag_store.format.sealed import FACTS_KEY, check_seal, seal
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import require_regular, write_whole
from songbag_store.terminal import plain_text
from songbag_training.errors import DamagedRun, LabelError, LeakError, SplitMismatch
from songbag_training.songs.labels import Labels, require_columns
from songbag_training.songs.task import Task, classes_of
from songbag_training.splits.groups import likely_groups, torn
from songbag_training.types import Ints, Label

Subset = Literal["train", "validation", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "validation", "test")

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


@dataclasses.dataclass(frozen=True, repr=False)
class Split(Shown):
    """A subset for every labelled song, ordered by song id.

    Attributes
    ----------
    subsets : tuple of str
        Subset of each song: train, validation or test; or, for cross-validation, the name of a fold.
    group : tuple of str
        Columns of the index whose values are each in one subset only.
    """

    song_ids: tuple[str, ...]
    labels: tuple[Label, ...]
    subsets: tuple[str, ...]
    group: tuple[str, ...] = ()

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
        """Write the split as sealed Parquet: song_id, label, part; the digest of the rows is one of its facts."""
        kind = Task((), not all(isinstance(label, str) for label in self.labels)).label_type
        schema = pa.schema([("song_id", pa.string()), ("label", kind), ("part", pa.string())])
        table = pa.table([self.song_ids, self.labels, self.subsets], schema=schema)
        facts = _SplitFacts(digest=self.digest, group=list(self.group))
        write_whole(path, seal(table, dataclasses.asdict(facts), group_rows=_GROUP_ROWS))

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
            made = cls(tuple(map(str, ids)), labels, tuple(map(str, subsets)), tuple(facts.group))
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise DamagedRun(f"is not a split ({reason(error)})", place=str(split)) from error
        if made.digest != facts.digest:
            raise DamagedRun("is not what was written: its rows have another digest", place=str(split))
        return made

    def fold(self, name: str) -> Self:
        """Return the split that tests one fold and trains on all others."""
        return dataclasses.replace(self, subsets=tuple("test" if own == name else "train" for own in self.subsets))


SplitLike: TypeAlias = Split | str | Path
"""The forms in which a user may give a split; `Split.read` takes them all."""


def _read(path: Path) -> tuple[_SplitFacts, pa.Table]:
    """Read the file of a split; see `Split.read` for its errors."""
    require_regular(path)
    data = path.read_bytes()
    if _EARLIER_KEY not in data:
        check_seal(data)  # before Arrow reads the footer
    metadata = pq.read_metadata(pa.BufferReader(data)).metadata or {}
    key = _EARLIER_KEY if _EARLIER_KEY in metadata else FACTS_KEY.encode()
    if key != _EARLIER_KEY:
        check_seal(data)
    facts = read_fields(_SplitFacts, parse_document(metadata[key]))
    return facts, pq.read_table(pa.BufferReader(data), columns=["song_id", "label", "part"])


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
        raise SplitMismatch(f"the store has no features of {len(gone)} songs of the split", gone)
    ids = labels.songs["song_id"].combine_chunks()
    places = pc.index_in(ids, value_set=saved)
    rows = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False)).tolist()
    if not rows:
        raise SplitMismatch("none of the songs to train on is in the split", ids.to_pylist())
    own = labels.take(rows)
    subsets = tuple(split.subsets[place] for place in places.drop_null().to_pylist())
    applied = Split(tuple(own.songs["song_id"].to_pylist()), tuple(own.names), subsets, split.group)
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
    """Refuse a split that has a song, byte-identical recordings, or a value of a group column in two subsets.

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
    for column in (CONTENT, *split.group):
        rows, values = torn(songs[column], subsets)
        if len(rows):
            first = rows[values == values.min()]
            _, sides = np.unique(subsets[first], return_index=True)
            # One song of each subset comes first, because a message names only a few.
            members = [*first[sides], *np.delete(first, sides)]
            what, option = f"songs of the same {column!r} are", f" --group {shlex.quote(column)}"
            if column == CONTENT:
                what, option = "byte-identical recordings are", ""
            remedy = f"Put them into one subset; `songbag split{option}` makes a split that keeps them together."
            raise LeakError(f"{what} in two subsets", ids.take(pa.array(members)).to_pylist(), remedy)


def group_notes(split: Split, songs: pa.Table) -> list[str]:
    """Return a note for each artist or album column that has a value in two subsets of a split.

    Parameters
    ----------
    split : Split
        Any split.
    songs : pyarrow.Table
        Rows of the index of its songs, in the same order.
    """
    subsets = split.numbers()
    notes = []
    for column in likely_groups(songs.schema):
        n_torn = len(np.unique(torn(songs[column], subsets)[1]))
        if n_torn and column not in split.group:
            what = f"{n_torn} value{'s' if n_torn > 1 else ''} of {column!r} have songs in more than one subset"
            notes.append(f"note: {what}, which flatters the metrics; group by {column!r} to keep them together")
    return notes


def balance(split: Split, classes: Sequence[str]) -> dict[str, Counter[str]]:
    """Return how many songs of each class are in each subset."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for (label, subset), n in Counter(zip(split.labels, split.subsets, strict=True)).items():
        for name in classes_of(label):
            counts[name][subset] += n
    return counts


def format_balance(split: Split, classes: Sequence[str]) -> str:
    """Return the balance as a table: a row for each class, a column for each subset."""
    widths = {subset: max(7, len(subset) + 2) for subset in split.counts()}
    rows: dict[str, Mapping[str, object]] = {"class": {subset: subset for subset in widths}}
    rows |= {plain_text(name): own for name, own in balance(split, classes).items()} | {"songs": split.counts()}
    wide = max(map(len, rows))
    return "\n".join(
        f"{name:<{wide}}" + "".join(f"{own.get(subset, 0):>{w}}" for subset, w in widths.items())
        for name, own in rows.items()
    )
