"""A small index, and answers from it that are written to files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from songbag_store.format.index import index_schema
from songbag_store.sql.answer import Limits
from songbag_store.sql.output import Format, chosen_format, write_table
from songbag_store.sql.query import asking

EMPTY = index_schema([pa.field("genre", pa.string())]).empty_table()
SONGS = pa.Table.from_pylist(
    [
        {"song_id": name, "status": "ok", "genre": genre, "n_windows": n, "fragment": "f", "run_id": "r"}
        for name, genre, n in (("a", "rock", 3), ("b", "jazz", 1), ("c", "rock", 2))
    ],
    schema=EMPTY.schema,
)
FORMS: list[Format] = ["csv", "json", "parquet"]


def written(sql: str, path: Path, limits: Limits = Limits()) -> Path:  # noqa: B008 (frozen)
    """Ask, and write the answer to a file as its suffix says."""
    with asking(SONGS, sql, limits) as answer:
        write_table(answer, chosen_format(None, path), path)
    return path
