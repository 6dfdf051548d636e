"""What is said about a split: which copies there are, what was compared, and what may flatter the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT, are_parts
from songbag_store.words import counted
from songbag_training.errors import some
from songbag_training.songs.columns import encoded, is_list, is_text
from songbag_training.songs.labels import Labels
from songbag_training.songs.spelling import means_nothing, told
from songbag_training.splits.copies import CopiedSongs
from songbag_training.splits.groups import keys_of, likely_groups, torn
from songbag_training.splits.split import Split
from songbag_training.types import Ints, Label

COPIES = "copies"
"""The suspicion that songs are copies; every other one has the name of a column."""

_SHOWN = 3
"""Conflicts that a note names."""
_MOST_GROUPS = 10_000
"""The groups whose names are looked at, the largest first."""


def split_notes(split: Split, labels: Labels, seconds: float | None = None, *, alike: bool = True) -> list[str]:
    """Return what is to be said about the songs of a split.

    Parameters
    ----------
    split : Split
        Any split.
    labels : Labels
        Its songs, in the same order.
    seconds : float, optional
        How long it took to find the copies; None if they were saved with the split.
    alike : bool
        Whether the features are of a kind that likeness is looked for in.
    """
    songs, leaks = labels.songs, suspected(split, labels.songs)
    copied = CopiedSongs.of(split, songs)
    counts, took = copied.counts(), "" if seconds is None else f", found in {seconds:.1f} s"
    notes = [*_part_notes(songs)]
    if counts.total:
        stay = "" if COPIES in leaks else "; copies stay in one subset"
        copies = counted(counts.total, "song is a copy of another", "songs are copies of others")
        notes.append(f"{copies} ({counts.in_words()}){took}{stay}")
    elif split.copy_group is not None:
        took = "" if seconds is None else f" (searched for {seconds:.1f} s)"
        notes.append(f"no song is a copy of another by {_compared(split, songs, alike)}{took}")
    if split.copy_group is None:
        notes.append("note: this split was made without a search for copies: only byte-identical ones are known")
    conflicts = _label_notes(copied, labels) if counts.total else ()
    return [*notes, *conflicts, *_value_notes(split, songs), *leak_notes(split, songs, leaks)]


def claim(split: Split, songs: pa.Table, *, alike: bool = True) -> str:
    """Return what is certain about a split that has passed the leak check, in words that claim no more than that.

    `alike` says whether the features are of a kind that likeness is looked for in.
    """
    groups = split.copies().get("copy_group")
    kept_alike = groups is not None and not len(torn(groups, split.numbers())[0])
    kept = [f"no copy by {_compared(split, songs, alike and kept_alike)}"]
    for column in split.group:
        n = _n_with_value(songs[column])
        which = f" (which {counted(n, 'song has', 'songs have')})" if n < songs.num_rows else ""
        kept.append(f"no value of {column!r}{which}")
    return f"no leak found: {' and '.join(kept)} is in two subsets"


def _compared(split: Split, songs: pa.Table, alike: bool) -> str:
    """Name what songs were compared by."""
    n_known = songs.num_rows - songs[CONTENT].null_count
    known = f" (which {counted(n_known, 'song has', 'songs have')})" if n_known < songs.num_rows else ""
    kinds = [f"bytes{known}"] if n_known else []
    if split.copy_group is not None:
        kinds += ["audio", "likeness"] if alike else ["audio"]
    return " or ".join(filter(None, [", ".join(kinds[:-1]), *kinds[-1:]]))


def _n_with_value(column: pa.ChunkedArray) -> int:
    """Return how many songs have a value in a column of the groups."""
    return len(np.unique(keys_of(column)[0]))


def _part_notes(songs: pa.Table) -> Iterator[str]:
    """Say how many songs are parts of files that have more of them."""
    rows, values = keys_of(songs[CONTENT])
    is_part = are_parts(songs).to_numpy()[rows]
    shared = values[is_part & (np.bincount(values)[values] > 1)]
    if len(shared):
        parts = counted(len(shared), "song is a part", "songs are parts")
        yield f"{parts} of {counted(len(np.unique(shared)), 'file')}; parts of a file stay in one subset"


def _label_notes(copied: CopiedSongs, labels: Labels) -> Iterator[str]:
    """Note copies whose labels are not those of their originals."""
    units = copied.units("same_audio", "copy_group").tolist()
    ids: pa.ChunkedArray = labels.songs["song_id"]
    first_of: dict[int, int] = {}
    odd: list[str] = []
    for row, unit in zip(copied.rows.tolist(), units, strict=True):
        first = first_of.setdefault(unit, row)
        if labels.names[row] != labels.names[first]:
            told = [f"{ids[one].as_py()!r} is {_in_words(labels.names[one])}" for one in (row, first)]
            odd.append(", ".join(told))
    if odd:
        more = "; ..." if len(odd) > _SHOWN else ""
        label = "another label than a song that"
        what = counted(len(odd), f"copy has {label} it is a copy of", f"copies have {label} they are copies of")
        yield f"note: {what}: {'; '.join(odd[:_SHOWN])}{more}"


def _in_words(label: Label) -> str:
    """Return a label as text for a message."""
    return repr(label) if isinstance(label, str) else "[" + ", ".join(map(repr, label)) + "]"


def _value_notes(split: Split, songs: pa.Table) -> Iterator[str]:
    """Note songs that have no value in a column of the groups."""
    for column in split.group:
        n = songs.num_rows - _n_with_value(songs[column])
        if n == songs.num_rows:
            yield f"note: no song has a value in {column!r}: this column keeps no songs together"
        elif n:
            has, stands = ("has", "it stands") if n == 1 else ("have", "each of them stands")
            what = f"{n:,} of {counted(songs.num_rows, 'song')} {has} no value in {column!r}: {stands} alone"
            yield f"note: {what}, so songs that belong together may be in two subsets"
        if empty := _empty_names(songs[column]):
            what = f"texts in {column!r} that are probably no values: {told(empty)}"
            yield f"note: {what}; songs with one stay together as one"


def _empty_names(column: pa.ChunkedArray) -> dict[str, int]:
    """Return the texts that probably stand for no value, and their numbers of songs, if these are several."""
    values = column.combine_chunks()
    values = pc.list_flatten(values) if is_list(values.type) else values
    if not is_text(values.type):
        return {}
    rows, codes = keys_of(column)
    names = encoded(values).dictionary
    # A list may have a name twice.
    n_songs = np.bincount(np.unique(np.stack([codes, rows]), axis=1)[0], minlength=len(names))
    largest = np.argsort(-n_songs, kind="stable")[:_MOST_GROUPS]
    found = zip(names.take(pa.array(largest)).to_pylist(), n_songs[largest].tolist(), strict=True)
    return {name: n for name, n in found if n > 1 and means_nothing(name)}


def leak_notes(split: Split, songs: pa.Table, suspects: Mapping[str, Ints]) -> list[str]:
    """Return a note for each suspicion, as `suspected` returns them for the same split and songs."""
    notes = []
    for what, rows in suspects.items():
        if what == COPIES:
            ids = songs["song_id"].take(pa.array(rows)).to_pylist()
            like = counted(len(rows), "song is", "songs are")
            told = f"{like} alike to songs of another subset, a suspected leak: {some(ids)}"
        else:
            n_torn = len(np.unique(torn(songs[what], split.numbers())[1]))
            has = "has" if n_torn == 1 else "have"
            told = f"{counted(n_torn, 'value')} of {what!r} {has} songs in more than one subset"
            told += f", which flatters the metrics; group by {what!r} to keep them together"
        notes.append(f"note: {told}")
    return notes


def suspected(split: Split, songs: pa.Table, judged: str | None = None) -> dict[str, Ints]:
    """Return the rows of songs that may be known from another subset, by why: `COPIES`, or a column (artist, album).

    Parameters
    ----------
    split : Split
        Any split.
    songs : pyarrow.Table
        Rows of the index of its songs, in the same order.
    judged : str, optional
        Only songs of this subset; by default of all.
    """
    columns: Mapping[str, pa.ChunkedArray] = {
        name: songs[name] for name in likely_groups(songs.schema) if name not in split.group
    }
    if split.copy_group is not None:
        columns = {COPIES: split.copies()["copy_group"], **columns}
    sides = split.numbers()
    inside = np.ones(len(sides), bool)
    if judged is not None:
        inside = np.array(split.subsets) == judged
        sides = inside.astype(np.int64)
    found = {}
    for what, column in columns.items():
        rows = np.unique(torn(column, sides)[0])
        if len(rows := rows[inside[rows]]):
            found[what] = rows
    return found
