"""A CSV or Parquet manifest of songs."""

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
from songbag_store.sql.manifest import fault, load_table, refuse_duplicates, text_column
from songbag_store.storage.location import Location

MANIFEST_SUFFIXES = frozenset({".csv", ".parquet"})


def read_manifest(location: Location) -> Source:
    """Read a manifest; its relative paths start at its own folder."""
    address, options = location.address, location.storage_options
    try:
        with local_copy(address, options, suffix=Path(address).suffix) as copy:
            ids, paths, user = _columns(Path(copy))
    except SongError as error:
        raise SourceError(error.what, place=address, remedy="Check the address.") from error
    except UsageError as error:
        place = address if location.is_remote else error.place
        raise ManifestError(error.what, place=place, remedy=error.remedy) from error
    is_whole = pc.or_(pc.match_substring(paths, "://"), pc.starts_with(paths, "/"))
    base = (os.path.dirname(address) or ".").rstrip("/")
    songs = table_of(ids, pc.if_else(is_whole, paths, pc.binary_join_element_wise(base, paths, "/")), options)
    for position, field in enumerate(user.schema, 2):
        songs = songs.add_column(position, field.name, user[field.name])
    return Source(location, songs)


def _columns(path: Path) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.Table]:
    """Return song ids, paths and the user's columns."""
    table = load_table(path)
    if "path" not in table.column_names:
        raise fault(path, f"there is no column 'path' (there are: {', '.join(table.column_names) or 'none'})")
    user = table.select([name for name in table.column_names if name not in ("song_id", "path")])
    index_schema(list(user.schema))
    paths = text_column(path, table, "path")
    ids = text_column(path, table, "song_id") if "song_id" in table.column_names else paths
    refuse_duplicates(path, ids)
    return ids, paths, user
