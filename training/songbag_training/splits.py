"""Song-wise splits: which songs train, which choose the best epoch, which are held out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_training.errors import DamagedRun, LabelError, LeakError
from songbag_training.files import replacing
from songbag_training.labels import Label, Labels

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.15


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """A part for every labelled song, ordered by song id."""

    song_ids: tuple[str, ...]
    labels: tuple[Label, ...]
    parts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted rows: equal exactly where songs, labels and parts are."""
        rows = sorted(zip(self.song_ids, self.labels, self.parts, strict=True))
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def rows_of(self, part: str) -> list[int]:
        """Return the positions of the songs of one part."""
        return [row for row, own in enumerate(self.parts) if own == part]

    def counts(self) -> dict[str, int]:
        """Return the number of songs of each part."""
        return {part: self.parts.count(part) for part in PARTS}

    def write(self, path: Path) -> None:
        """Write the split as Parquet: song_id, label (a list of classes in a multi-label task), part."""
        multi_label = any(isinstance(label, tuple) for label in self.labels)
        schema = _schema(pa.list_(pa.string()) if multi_label else pa.string())
        table = pa.table([list(self.song_ids), list(self.labels), list(self.parts)], schema=schema)
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read a split that `write` wrote.

        Raises
        ------
        DamagedRun
            If the file is missing or is not a split.
        """
        try:
            table = pq.read_table(path, columns=["song_id", "label", "part"], partitioning=None)
            multi_label = pa.types.is_list(table.schema.field("label").type)
            table = table.cast(_schema(pa.list_(pa.string()) if multi_label else pa.string()))
            song_ids, labels, parts = (tuple(column.to_pylist()) for column in table.columns)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DamagedRun(f"is not a split ({str(error).splitlines()[0]})", where=str(path)) from error
        return cls(song_ids, tuple(map(tuple, labels)) if multi_label else labels, parts)


def _schema(label: pa.DataType) -> pa.Schema:
    return pa.schema([("song_id", pa.string()), ("label", label), ("part", pa.string())])


def split_songs(labels: Labels, column: str, *, seed: int) -> Split:
    """Divide songs into train (70 %), validation (15 %) and test (15 %), class by class.

    Byte-identical recordings count as one and stay together. Each class gives at least one recording to each part:
    scikit-learn's stratified splitters leave a rare class out of the small parts, which no metric survives. Which
    recordings go where depends on the seed and on their own song ids alone, so that a song keeps its place when others
    are added, unless the sizes of the parts move it.

    Parameters
    ----------
    labels : Labels
        The songs and their classes.
    column : str
        Where the labels came from, for messages.
    seed : int
        Another seed gives another split.

    Raises
    ------
    LabelError
        If a class has fewer than three recordings.
    """
    if labels.task == "multi-label":
        raise LabelError(column, "songs of several classes cannot be split yet", "Give one label a song.")
    song_ids: list[str] = labels.songs["song_id"].to_pylist()
    groups = _recordings(labels.songs)
    by_class: dict[Label, list[list[int]]] = defaultdict(list)
    for rows in groups:
        by_class[labels.names[rows[0]]].append(rows)
    _check_counts(column, {name: len(by_class.get(name, ())) for name in labels.classes})
    parts = [""] * len(song_ids)
    for recordings in by_class.values():
        recordings.sort(key=lambda rows: _lot(seed, song_ids[rows[0]]))
        for rows, part in zip(recordings, _parts_of_class(len(recordings)), strict=True):
            for row in rows:
                parts[row] = part
    return Split(tuple(song_ids), tuple(labels.names), tuple(parts))


def check_leaks(split: Split, songs: pa.Table) -> None:
    """Refuse a split that has a song, or byte-identical recordings, on two sides.

    Parameters
    ----------
    split : Split
        Any split, not only one made here.
    songs : pyarrow.Table
        Rows of the index with `song_id` and `content_sha256`.

    Raises
    ------
    LeakError
        If what is tested on was trained on.
    """
    twice = [song_id for song_id, n in Counter(split.song_ids).items() if n > 1]
    if twice:
        raise LeakError("songs are listed more than once", twice)
    part_of = dict(zip(split.song_ids, split.parts, strict=True))
    ids: list[str] = songs["song_id"].to_pylist()
    for rows in _recordings(songs):
        members = [ids[row] for row in rows if ids[row] in part_of]
        if len({part_of[song_id] for song_id in members}) > 1:
            raise LeakError("byte-identical recordings are in two parts", members)


def _recordings(songs: pa.Table) -> list[list[int]]:
    """Group the rows of byte-identical recordings; a row without a digest is alone."""
    keys: Sequence[str | None] = songs["content_sha256"].to_pylist()
    groups: dict[object, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key or row].append(row)
    return list(groups.values())


def n_duplicates(songs: pa.Table) -> int:
    """Return how many songs are byte-identical copies of another one."""
    known = songs["content_sha256"].drop_null()
    return len(known) - int(pc.count_distinct(known).as_py())


def _lot(seed: int, song_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{song_id}".encode()).digest()


def _parts_of_class(n: int) -> list[Part]:
    """Return the parts of the n recordings of one class, n >= 3, in drawing order."""
    n_test = max(1, math.floor(n * TEST_SHARE + 0.5))
    n_validation = max(1, math.floor(n * VALIDATION_SHARE + 0.5))
    counts: dict[Part, int] = {"test": n_test, "validation": n_validation, "train": n - n_test - n_validation}
    return [part for part, count in counts.items() for _ in range(count)]


def _check_counts(column: str, counts: dict[str, int]) -> None:
    small = {name: n for name, n in counts.items() if n < len(PARTS)}
    if not small:
        return
    named = ", ".join(f"{name!r} has {n}" for name, n in list(small.items())[:8])
    more = f" and {len(small) - 8} more classes too" if len(small) > 8 else ""
    raise LabelError(
        column,
        f"too few recordings in a class for train, validation and test: {named}{more}",
        "Each class needs 3 different recordings or more: add some, merge classes, or leave it out with --where.",
    )
