"""The songs of a source as one table, with size and time of their files."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa

from songbag_pipeline.sources.bucket import remote_rows
from songbag_store.storage.location import is_remote

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".spx", ".wav", ".wave", ".webm", ".wma"}
)
"""Files of a folder with one of these are songs; what they hold is told by their content."""

_ROWS_AT_ONCE = 1 << 13
Texts: TypeAlias = list[str] | pa.ChunkedArray
OWN = pa.schema(
    [
        ("song_id", pa.string()),
        ("path", pa.string()),
        ("file_bytes", pa.int64()),
        ("modified_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The songs to extract.

    Attributes
    ----------
    songs : pyarrow.Table
        ``song_id`` (unique), ``path`` (absolute), the user's columns, and size and time of the file (null if missing).
    warnings : tuple of str
        What was left out, and why.
    """

    songs: pa.Table
    warnings: tuple[str, ...] = ()


def labels(song_ids: list[str]) -> dict[str, pa.Array]:
    """Return the column of labels: the first folder of each song id."""
    parts = (song_id.partition("/") for song_id in song_ids)
    return {"label": pa.array([first if slash else None for first, slash, _ in parts], pa.string())}


def table_of(
    song_ids: Texts,
    paths: Texts,
    user: Mapping[str, pa.Array | pa.ChunkedArray],
    options: Mapping[str, str] | None = None,
) -> pa.Table:
    """Return songs with size and time of their files, a block of rows at a time: a list may have ten million.

    A relative path starts where the process was started.
    """
    blocks = [
        _block(song_ids[start : start + _ROWS_AT_ONCE], paths[start : start + _ROWS_AT_ONCE], options or {})
        for start in range(0, len(song_ids), _ROWS_AT_ONCE)
    ]
    return with_columns(pa.concat_tables([OWN.empty_table(), *blocks]), user)


def _block(song_ids: Texts, paths: Texts, options: Mapping[str, str]) -> pa.Table:
    listed: list[str] = paths if isinstance(paths, list) else paths.to_pylist()
    remote = [("", path) for path in listed if is_remote(path)]
    rows = iter(remote_rows(remote, options) if remote else [])
    listed = [path if is_remote(path) else os.path.abspath(path) for path in listed]
    facts = [_remote_facts(next(rows)) if is_remote(path) else _file_facts(path) for path in listed]
    stamps = pa.array([stamp for _, stamp in facts], pa.int64()).cast(OWN.field("modified_at").type)
    ids = pa.array(song_ids, pa.string()) if isinstance(song_ids, list) else song_ids
    return pa.table([ids, listed, [size for size, _ in facts], stamps], schema=OWN)


def _file_facts(path: str) -> tuple[int | None, int | None]:
    """Return size in bytes and time in microseconds; None for a file that is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns // 1000


def _remote_facts(row: dict[str, Any]) -> tuple[int | None, int | None]:
    written: datetime | None = row.get("modified_at")
    stamp = None if written is None else int(written.timestamp()) * 1_000_000 + written.microsecond
    return row.get("file_bytes"), stamp


def with_columns(table: pa.Table, user: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    for position, (name, values) in enumerate(user.items()):
        table = table.add_column(2 + position, name, values)
    return table


def twins(song_ids: list[str]) -> list[str]:
    """Warn of names that look the same and are not (composed and decomposed accents)."""
    seen: dict[str, str] = {}
    notes = []
    for song_id in song_ids:
        if song_id.isascii():
            continue
        other = seen.setdefault(unicodedata.normalize("NFC", song_id), song_id)
        if other != song_id:
            notes.append(f"{song_id!a} and {other!a} differ only in how accents are written: taken as two songs")
    return notes
