"""A manifest of songs: CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import ManifestError, SongError, SourceError
from songbag_pipeline.sources.bucket import local_copy
from songbag_pipeline.sources.listing import Source, table_of
from songbag_store.errors import UsageError
from songbag_store.format.index import index_schema
from songbag_store.sql.bounds import Bounds
from songbag_store.sql.likely_bounds import refuse_likely
from songbag_store.sql.manifest import Manifest
from songbag_store.storage.location import Location

_ADDRESS = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_KNOWN_ADDRESS = r"^((s3|gs|az)://|(?i:file)://(localhost)?/)"
_NO_PATHS = "Its first line, or each object, must name the columns, and one of them is `path`: the files of the songs."


def read_manifest(location: Location) -> Source:
    """Read a manifest; its relative paths start at its own folder.

    Raises
    ------
    SourceError
        If the manifest itself cannot be fetched.
    ManifestError
        If it cannot be used, with the line or the column.
    """
    address, options = location.address, location.storage_options
    try:
        with local_copy(address, options, suffix=Path(address).suffix) as copy:
            manifest = Manifest.load(Path(copy))
            bounds = Bounds.of(manifest)
            refuse_likely(manifest, bounds.columns)
            ids, paths, user = _columns(manifest, bounds)
    except SongError as error:
        raise SourceError(error.what, place=address, remedy="Check the address.") from error
    except UsageError as error:
        raise ManifestError(error.what, place=address, remedy=error.remedy) from error
    base = os.path.dirname(address) or "."
    base = base if location.is_remote else os.path.abspath(base)
    songs = table_of(ids, paths, options, base, (bounds.starts, bounds.ends))
    for position, field in enumerate(user.schema, 2):
        songs = songs.add_column(position, field.name, user[field.name])
    return Source(location, songs, manifest.notes, base)


def _columns(manifest: Manifest, bounds: Bounds) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.Table]:
    """Return song ids, paths and the user's columns."""
    table = manifest.table
    names = table.column_names
    if "path" not in names:
        told = ", ".join(name if len(name) < 60 else f"{name[:60]}..." for name in names[:20]) or "none"
        raise manifest.fault(f"there is no column 'path' or 'audio_filepath' (there are: {told})", remedy=_NO_PATHS)
    user = table.select([name for name in names if name not in ("song_id", "path", *bounds.columns)])
    index_schema(list(user.schema))
    paths = manifest.texts("path")
    _refuse_schemes(manifest, paths)
    ids = manifest.texts("song_id") if "song_id" in names else bounds.ids(paths)
    manifest.refuse_duplicates(ids)
    return ids, paths, user


def _refuse_schemes(manifest: Manifest, paths: pa.ChunkedArray) -> None:
    """Refuse addresses that cannot be read, such as those of web servers."""
    other = pc.and_not(pc.match_substring_regex(paths, _ADDRESS), pc.match_substring_regex(paths, _KNOWN_ADDRESS))
    if (row := pc.index(other, True).as_py()) >= 0:
        what = f"songbag cannot read from {paths[row].as_py()!r}"
        remedy = "Give a path, file:///..., s3://..., gs://... or az://...; fetch other files first."
        raise manifest.fault(what, row, remedy=remedy)
