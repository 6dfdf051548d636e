"""Tables of predictions, of songs and of windows, written a row group at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from songbag_training.evaluation.score import SongScore, window_times
from songbag_training.files import replacing

_ROWS_AT_ONCE = 100_000
_SUFFIXES = (".csv", ".parquet")


def probability_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the probability columns: unique as the classes are, and like no other column's."""
    return [f"p_{name}" for name in classes]


def probability_columns(classes: Sequence[str], probabilities: npt.NDArray[np.float64]) -> dict[str, pa.Array]:
    """Return one column a class of probabilities, shape (n, n_classes)."""
    return {name: pa.array(probabilities[:, i]) for i, name in enumerate(probability_names(classes))}


def require_table_path(path: Path) -> None:
    """Refuse a file that no table can be written to, before any work is done.

    Raises
    ------
    UsageError
        If its suffix is another than .csv and .parquet, or its folder is missing.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError("the suffix names no format", place=str(path), remedy="End it in .csv or .parquet.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {str(path.parent)!r}", place=str(path), remedy="Make it first.")


class TableWriter:
    """Writes a table to CSV or Parquet as it comes, many rows at a time; see `writing_table`.

    At most 100,000 rows and one table are held.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._flat = path.suffix.lower() == ".csv"
        if self._flat:
            self._writer = pyarrow.csv.CSVWriter(path, pa.schema([_flat_field(field) for field in schema]))
        else:
            self._writer = pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
        self._held: list[pa.Table] = []
        self._n_held = 0

    def add(self, table: pa.Table) -> None:
        """Add some rows."""
        self._held.append(_flat_table(table) if self._flat else table)
        self._n_held += table.num_rows
        if self._n_held >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is held, to Parquet as one row group."""
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._n_held = [], 0

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def _flat_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string()) if pa.types.is_list(field.type) else field


def _flat_table(table: pa.Table) -> pa.Table:
    """CSV has no lists: they go in as JSON."""
    for position, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if value is None else json.dumps(value) for value in table[position].to_pylist()]
            table = table.set_column(position, field.name, pa.array(texts, pa.string()))
    return table


@contextmanager
def writing_table(path: Path, schema: pa.Schema) -> Iterator[TableWriter]:
    """Write a table as a whole or not at all; CSV or Parquet by the suffix."""
    with replacing(path) as temporary:
        writer = TableWriter(temporary, schema)
        try:
            yield writer
            writer.flush()
        finally:
            writer.close()


class WindowsWriter:
    """Writes the windows of songs; see `writing_windows`."""

    def __init__(self, writer: TableWriter, spec: FeatureSpec, classes: Sequence[str]) -> None:
        self._writer = writer
        self._spec = spec
        self._classes = classes

    def add(self, score: SongScore) -> None:
        """Add all windows of one song."""
        n_windows = len(score.weights)
        starts, ends = window_times(n_windows, self._spec)
        columns = {
            "song_id": pa.repeat(score.song_id, n_windows),
            "window": pa.array(np.arange(n_windows, dtype=np.int32)),
            "start_s": pa.array(starts),
            "end_s": pa.array(ends),
            "weight": pa.array(score.weights),
        }
        self._writer.add(pa.table(columns | probability_columns(self._classes, score.window_probabilities)))


@contextmanager
def writing_windows(path: Path, spec: FeatureSpec, classes: Sequence[str]) -> Iterator[WindowsWriter]:
    """Write windows as a whole or not at all: song_id, window, start_s, end_s, weight, p_<class>...

    The weights of a song sum to 1. Memory holds 100,000 windows and one song, whatever the number of songs.
    """
    own = [("song_id", pa.string()), ("window", pa.int32()), ("start_s", pa.float64()), ("end_s", pa.float64())]
    shares = [(name, pa.float64()) for name in ("weight", *probability_names(classes))]
    with writing_table(path, pa.schema([*own, *shares])) as writer:
        yield WindowsWriter(writer, spec, classes)
