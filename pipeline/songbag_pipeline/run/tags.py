"""The tags of files as columns of the index."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.audio.files import file_sha256, modification_time
from songbag_pipeline.audio.tags import NAMES, TEXTS
from songbag_pipeline.errors import SongError
from songbag_pipeline.songs.containment import Containment, contained_reader
from songbag_pipeline.sources.bucket import local_copy
from songbag_store import SongStore
from songbag_store.commits.snapshots import Snapshot
from songbag_store.errors import require_extra
from songbag_store.format.index import CONTENT, index_schema, user_fields
from songbag_store.machine import n_cores, require_linux
from songbag_store.progress import Progress, shown_on, stretch
from songbag_store.sql.shown import Shown
from songbag_store.stop import doing
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_store.writer import commit_change

_CONTAINMENT = Containment()
_FILES_AT_ONCE = 4096
_LINE_EVERY_S = 10.0
_STATES = ("read", "gone", "changed", "unreadable")
_STATE = "state"


def tag_fields(tags: Iterable[str] = NAMES) -> list[pa.Field]:
    """Return the columns of tags: texts, and whole numbers of 64 bits, as they come from a CSV."""
    return [pa.field(tag, pa.string() if tag in TEXTS else pa.int64()) for tag in tags]


_READ = pa.schema([*tag_fields(), (_STATE, pa.string())])


def free_tags(given: Sequence[pa.Field], held: Sequence[pa.Field]) -> tuple[tuple[str, ...], list[str]]:
    """Return the tags that become columns, and notes on the others.

    Parameters
    ----------
    given : sequence of pyarrow.Field
        The user's columns of the source. One that has the name of a tag, in capitals or not, stands in its place.
    held : sequence of pyarrow.Field
        The user's columns of the store. A tag goes into the column of its name, if that has its type.
    """
    notes = []
    by_source = {field.name.casefold(): field.name for field in given}
    by_store = {field.name.casefold(): field for field in held}
    tags = []
    for field in tag_fields():
        if field.name in by_source:
            notes.append(f"the column {by_source[field.name]!r} comes from the source, and no tag is read for it")
        elif (present := by_store.get(field.name)) is not None and not takes(present, field):
            notes.append(f"the column {present.name!r} of the store is {left(present, field)}")
        else:
            tags.append(field.name)
    return tuple(tags), notes


def takes(column: pa.Field, tag: pa.Field) -> bool:
    """Return whether a column of a store takes the values of a tag."""
    if column.name != tag.name:
        return False
    if pa.types.is_null(column.type):
        return True
    if pa.types.is_string(tag.type):
        return bool(pa.types.is_string(column.type))
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return bool(is_number and column.type.bit_width >= 32)


def left(column: pa.Field, tag: pa.Field) -> str:
    """Return why a column of a store is not that of a tag."""
    if column.name != tag.name:
        return f"another one than {tag.name!r}, from which it differs only in capitals; the tag is left out"
    wanted = "text" if pa.types.is_string(tag.type) else "whole numbers"
    return f"of type {column.type} instead of {wanted}; the tag is left out"


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Relabelled(Shown):
    """What `relabel_from_tags` did.

    Attributes
    ----------
    store : SongStore
        At the new snapshot, or at the newest if nothing was filled in.
    n_songs : int
        Songs with features.
    n_tagged, n_filled : int
        Songs whose files have tags, and values that were filled in.
    gone, changed, unreadable : tuple of str
        Songs whose file is not there; has other content than the one that was extracted; cannot be read.
    notes : tuple of str
        Tags that were left out, and why.
    """

    store: SongStore
    n_songs: int
    n_tagged: int
    n_filled: int
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield from {"songs": self.n_songs, "tagged": self.n_tagged, "filled": self.n_filled}.items()
        yield from {one: len(getattr(self, one)) for one in _STATES[1:]}.items()
        yield "snapshot", self.store.snapshot


def relabel_from_tags(store: StoreLike, *, progress: Progress | None = None) -> Relabelled:
    """Read the tags of the files of a store again, fill them in where the index has no value yet, and commit.

    A value that is there stays: it may be a label. No feature is touched, and no song that failed.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store. Its storage options are also those of songs in object stores, which are fetched again.
    progress : Progress, optional
        Where to show progress; by default on standard error.

    Raises
    ------
    UnsupportedSystem
        If this machine does not run Linux.
    """
    require_linux("relabel")
    require_extra("pipeline", "av", place="relabel")
    opened = SongStore.open(store)
    songs = opened.songs(columns=["song_id", "path", "file_bytes", "modified_at", CONTENT], arrow=True)
    with doing("the tags are read"):
        read = _read(songs, opened.location.storage_options, progress or shown_on(sys.stderr))
    named = {one: tuple(read["song_id"].filter(pc.equal(read[_STATE], one)).to_pylist()) for one in _STATES[1:]}
    tagged = read.filter(pc.is_valid(pc.coalesce(*(read[tag].cast(pa.string()) for tag in NAMES))))
    tags, notes = free_tags([], user_fields(opened.inside.state.content.schema))
    n_filled = 0

    def change(base: Snapshot) -> tuple[pa.Table, frozenset[str]] | None:
        nonlocal n_filled, tags, notes
        tags, notes = free_tags([], user_fields(base.index.schema))
        filled, n_filled = _filled(base.index, tagged, tags)
        return (filled, base.parts) if n_filled else None

    if tagged.num_rows:
        note = f"relabel {counted(tagged.num_rows, 'song')} from tags: {', '.join(tags)}"
        opened = commit_change(opened, change, note=note)
    return Relabelled(opened, songs.num_rows, tagged.num_rows, n_filled, **named, notes=tuple(notes))


def _read(songs: pa.Table, options: Mapping[str, str], progress: Progress) -> pa.Table:
    """Return songs with their tags and what became of their files; each file is read once, several at a time.

    A thread has a process of its own that reads. Results are packed after some thousand files.
    """
    paths = songs["path"].combine_chunks().dictionary_encode()
    firsts = pc.index_in(paths.dictionary, value_set=songs["path"].combine_chunks())
    files = songs.take(firsts)
    packed = [_READ.empty_table()]
    line_at = time.monotonic()
    threads = ThreadPoolExecutor(n_cores())
    try:
        with stretch(progress, files.num_rows, "files"):
            for start in range(0, files.num_rows, _FILES_AT_ONCE):
                block = files.slice(start, _FILES_AT_ONCE).to_pylist()
                found = []
                for number, one in enumerate(threads.map(partial(_read_file, options=options), block), start + 1):
                    found.append(one)
                    state = f"{number:,} of {counted(files.num_rows, 'file')}"
                    is_due = time.monotonic() - line_at > _LINE_EVERY_S
                    line_at = time.monotonic() if is_due else line_at
                    progress.advance(number, state, state if is_due else None)
                packed.append(pa.Table.from_pylist(found, schema=_READ))
    finally:
        threads.shutdown(cancel_futures=True)
    read = pa.concat_tables(packed).take(paths.indices)
    for name in ("song_id", CONTENT):
        read = read.append_column(name, songs[name])
    return read


def _read_file(song: dict[str, Any], options: Mapping[str, str]) -> dict[str, Any]:
    """Return the tags of a file, and one of `_STATES`."""
    try:
        with local_copy(song["path"], options) as copy, contained_reader(_CONTAINMENT) as reader:
            status = os.stat(copy)
            same = (status.st_size, modification_time(status)) == (song["file_bytes"], song["modified_at"])
            if not same and file_sha256(copy) != song[CONTENT]:
                return {_STATE: "changed"}
            facts = reader.read_tags(copy)
    except SongError as error:
        return {_STATE: "gone" if error.code == "missing" else "unreadable"}
    except (FileNotFoundError, NotADirectoryError):
        return {_STATE: "gone"}
    except (OSError, ValueError):
        return {_STATE: "unreadable"}
    return facts.tags | {_STATE: _STATES[0] if facts.status == "ok" else "unreadable"}


def _filled(index: pa.Table, read: pa.Table, tags: Sequence[str]) -> tuple[pa.Table, int]:
    """Return an index with tags where it has no value, and how many values were filled in."""
    position = pc.index_in(index["song_id"], value_set=read["song_id"].combine_chunks())
    # A song that was computed again in the meantime has another file.
    same = pc.fill_null(pc.equal(index[CONTENT], read[CONTENT].take(position)), False)
    columns = {field.name: index[field.name] for field in user_fields(index.schema)}
    n_filled = 0
    for field in tag_fields(tags):
        old = columns.get(field.name)
        if old is None or pa.types.is_null(old.type):
            old = pa.chunked_array([pa.nulls(index.num_rows, field.type)])
        new = pc.if_else(same, read[field.name].take(position), None).cast(old.type)
        n_filled += pc.sum(pc.and_(pc.is_null(old), pc.is_valid(new))).as_py() or 0
        columns[field.name] = pc.coalesce(old, new)
    schema = index_schema(pa.field(name, column.type) for name, column in columns.items())
    return pa.table([columns[n] if n in columns else index[n] for n in schema.names], schema=schema), n_filled
