"""A CSV or Parquet manifest of songs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import ManifestError
from songbag_pipeline.sources.listing import Source, table_of
from songbag_store.errors import UsageError
from songbag_store.format.index import index_schema
from songbag_store.sql.manifest import fault, load_table, refuse_duplicates, text_column

MANIFEST_SUFFIXES = frozenset({".csv", ".parquet"})


def read_manifest(path: Path, base: str, options: Mapping[str, str]) -> Source:
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
    return Source(table_of(ids, files, {field.name: table[field.name] for field in user}, options))
