"""What is to be extracted: a folder, a manifest or single files, as one table of songs."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import ManifestError, SongError, SourceError
from songbag_pipeline.sources.bucket import local_copy, remote_rows, rows_below
from songbag_store.errors import UsageError
from songbag_store.format.index import index_schema
from songbag_store.sql.manifest import fault, load_table, refuse_duplicates, text_column
from songbag_store.storage.location import Location, LocationLike, is_remote

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".spx", ".wav", ".wave", ".webm", ".wma"}
)
"""Files of a folder with one of these are songs; what they hold is told by their content."""

_MANIFESTS = frozenset({".csv", ".parquet"})
_ROWS_AT_ONCE = 1 << 13
Texts: TypeAlias = list[str] | pa.ChunkedArray
_OWN = pa.schema(
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


def read_source(source: LocationLike, *, label_from_folder: bool = False) -> Source:
    """Read a folder, a CSV or Parquet manifest, or a single audio file; any of them may lie in an object store.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder: every audio file below it is a song and its path relative to the folder the song id. A manifest
        (``.csv`` or ``.parquet``): column ``path``, optional ``song_id``, any further columns go to the index. The
        storage options of a `Location` hold for the source and for the paths of a manifest.
    label_from_folder : bool
        Add a column ``label``: the first folder below the source on the way to the song.

    Raises
    ------
    SourceError
        If there is nothing, or no song in it.
    ManifestError
        If the manifest cannot be used; nothing was done yet.
    """
    location = Location.of(source)
    path, options = Path(location.address), location.storage_options
    if location.is_remote:
        found = _read_remote(location.address, label_from_folder, options)
    elif path.is_dir():
        found = _read_folder(path, label_from_folder)
    elif not os.path.isfile(path):
        raise SourceError("there is no such folder or file", place=str(location), remedy="Check the path.")
    elif label_from_folder:
        raise _no_folder(path)
    elif path.suffix.lower() in _MANIFESTS:
        found = _read_manifest(path, str(path.parent), options)
    else:
        found = Source(_table([path.name], [str(path)], {}))
    if found.songs.num_rows == 0:
        raise SourceError(
            "; ".join(["there is no song in it", *found.warnings[:3]]),
            place=str(location),
            remedy="Songs are files named " + ", ".join(sorted(AUDIO_SUFFIXES)[:6]) + " and the like, or a manifest.",
        )
    return found


def _no_folder(source: str | Path) -> ManifestError:
    remedy = "Give the label as a column of the manifest."
    return ManifestError("`label_from_folder` is for folders", place=str(source), remedy=remedy)


def _read_remote(address: str, label_from_folder: bool, options: Mapping[str, str]) -> Source:
    """Read a manifest, one audio file or all that lies below a prefix."""
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in _MANIFESTS | AUDIO_SUFFIXES:
        return _read_prefix(address, label_from_folder, options)
    if label_from_folder:
        raise _no_folder(address)
    if suffix in AUDIO_SUFFIXES:
        return Source(_table([address.rpartition("/")[2]], [address], {}, options))
    try:
        with local_copy(address, options, suffix=suffix) as copy:
            return _read_manifest(Path(copy), address.rpartition("/")[0], options)
    except SongError as error:
        raise SourceError(error.what, place=address, remedy="Check the address.") from error
    except ManifestError as error:
        error.place = address
        raise


def _read_prefix(address: str, label_from_folder: bool, options: Mapping[str, str]) -> Source:
    """List the songs below a prefix in the order of their ids."""
    left_out = 0
    rows = []
    for row in rows_below(address, options):
        if PurePosixPath(row["song_id"]).suffix.lower() in AUDIO_SUFFIXES:
            rows.append(row)
        else:
            left_out += 1
    rows.sort(key=lambda row: row["song_id"])
    notes = [f"{left_out} object(s) left out, no audio suffix"] if left_out else []
    song_ids = [row["song_id"] for row in rows]
    notes += _twins(song_ids)
    table = pa.Table.from_pylist(rows, schema=_OWN)
    return Source(_with_columns(table, _labels(song_ids) if label_from_folder else {}), tuple(notes))


def _labels(song_ids: list[str]) -> dict[str, pa.Array]:
    """Return the column of labels: the first folder of each song id."""
    parts = (song_id.partition("/") for song_id in song_ids)
    return {"label": pa.array([first if slash else None for first, slash, _ in parts], pa.string())}


def _table(
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
    return _with_columns(pa.concat_tables([_OWN.empty_table(), *blocks]), user)


def _block(song_ids: Texts, paths: Texts, options: Mapping[str, str]) -> pa.Table:
    listed: list[str] = paths if isinstance(paths, list) else paths.to_pylist()
    remote = [("", path) for path in listed if is_remote(path)]
    rows = iter(remote_rows(remote, options) if remote else [])
    listed = [path if is_remote(path) else os.path.abspath(path) for path in listed]
    facts = [_remote_facts(next(rows)) if is_remote(path) else _file_facts(path) for path in listed]
    stamps = pa.array([stamp for _, stamp in facts], pa.int64()).cast(_OWN.field("modified_at").type)
    ids = pa.array(song_ids, pa.string()) if isinstance(song_ids, list) else song_ids
    return pa.table([ids, listed, [size for size, _ in facts], stamps], schema=_OWN)


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


def _with_columns(table: pa.Table, user: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    for position, (name, values) in enumerate(user.items()):
        table = table.add_column(2 + position, name, values)
    return table


def _read_folder(root: Path, label_from_folder: bool) -> Source:
    """List a folder's songs in the order of their ids, so that the same folder always gives the same batches."""
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    song_ids: list[str] = []
    for path in _walk(root, notes):
        reason = _reason_to_leave_out(path, root)
        if reason is None:
            song_ids.append(path.relative_to(root).as_posix())
        elif reason.startswith("no audio suffix"):
            left_out[reason] += 1
        else:
            notes.append(f"{os.fsencode(path).decode(errors='backslashreplace')}: left out, {reason}")
    song_ids.sort()
    notes += [f"{count} file(s) left out, {reason}" for reason, count in sorted(left_out.items())]
    notes += _twins(song_ids)
    user = _labels(song_ids) if label_from_folder else {}
    return Source(_table(song_ids, _below(root, song_ids), user), tuple(notes))


def _below(root: Path, names: list[str]) -> pa.ChunkedArray:
    """Return the paths of files in a folder."""
    return pa.chunked_array(
        [pc.binary_join_element_wise(os.path.abspath(root).rstrip("/"), pa.array(names, pa.string()), "/")]
    )


def _walk(root: Path, notes: list[str]) -> Iterator[Path]:
    """Yield every file below a folder; links to folders are not followed, so a loop of links ends."""

    def complain(error: OSError) -> None:
        notes.append(f"{error.filename}: folder left out, {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=complain):
        notes += [
            f"{Path(folder, name)}: left out, a link to a folder"
            for name in folders
            if os.path.islink(Path(folder, name))
        ]
        for name in names:
            yield Path(folder, name)


def _reason_to_leave_out(path: Path, root: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        return f"no audio suffix ({suffix or 'none'})"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if not path.is_symlink():
        return None if path.is_file() else "not a regular file"
    if not path.exists():
        return "a link to nothing"
    if not path.resolve().is_relative_to(root.resolve()):
        return "a link out of the source"
    return None if path.is_file() else "not a regular file"


def _twins(song_ids: list[str]) -> list[str]:
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


def _read_manifest(path: Path, base: str, options: Mapping[str, str]) -> Source:
    """Read a manifest; a relative path of it starts at `base`."""
    try:
        return _songs_of_manifest(path, load_table(path), base, options)
    except UsageError as error:
        raise ManifestError(error.what, place=error.place, remedy=error.remedy) from error


def _songs_of_manifest(path: Path, table: pa.Table, base: str, options: Mapping[str, str]) -> Source:
    if "path" not in table.column_names:
        raise fault(path, f"there is no column 'path' (there are: {', '.join(table.column_names) or 'none'})")
    user = [field for field in table.schema if field.name not in ("song_id", "path")]
    index_schema(user)
    paths = text_column(path, table, "path")
    ids = text_column(path, table, "song_id") if "song_id" in table.column_names else paths
    refuse_duplicates(path, ids)
    whole = pc.or_(pc.match_substring(paths, "://"), pc.starts_with(paths, "/"))
    files = pc.if_else(whole, paths, pc.binary_join_element_wise(base.rstrip("/"), paths, "/"))
    return Source(_table(ids, files, {field.name: table[field.name] for field in user}, options))
