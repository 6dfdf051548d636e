"""Tables that users write: lists of songs, and labels. Every fault is reported with its line or column."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from songbag_store.errors import UsageError
from songbag_store.format.check import repeated
from songbag_store.sql.delimited import Delimited
from songbag_store.sql.encoding import CORRECT, fault
from songbag_store.sql.form import form_of
from songbag_store.sql.json_lines import line_of_object, read_lines

_PATH_COLUMNS = ("path", "audio_filepath")  # speech toolkits use the second name
_PANDAS_INDEX = "__index_level_0__"
# An index that packs better than `songbag_store.format.sealed` takes for honest could not be opened.
_MOST_BYTES = 128 << 20
_MOST_BYTES_A_ROW = 20_000

PlaceOf = Callable[[int], str]
"""Takes the number of a row and returns how a person finds it in the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A table that a user wrote, as CSV, TSV, JSON Lines or Parquet.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    table : pyarrow.Table
        Its columns, in types that an index can keep. The column of files is named ``path``.
    place_of : callable
        Takes the number of a row and returns how a person finds it in the file: ``line 7``.
    notes : tuple of str
        What was left out.
    """

    path: Path
    table: pa.Table
    place_of: PlaceOf
    notes: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path, texts: Collection[str] = ()) -> Manifest:
        """Read a table; its content decides its form, and its name only where that leaves it open.

        In a CSV only an empty field is null: an artist may be called "NA". The columns `song_id` and `path` are text,
        and so is a column of numbers if one has a leading zero.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        texts : collection of str
            Further columns of a CSV that are read as text, even if all values look like numbers or dates: a genre may
            be called "1" or "True".

        Raises
        ------
        UsageError
            If it is missing, no table, or cannot be read.
        """
        form = form_of(path)
        try:
            if form == "delimited":
                table, place_of = _read_delimited(path, texts)
            else:
                table, place_of = {"parquet": _read_parquet, "lines": _read_lines}[form](path)
        except (pa.ArrowException, OSError) as error:
            raise fault(path, f"it cannot be read ({str(error).splitlines()[0]})") from error
        table, notes = _named(path, table)
        table = _plain(path, table)
        if table.nbytes > max(_MOST_BYTES, _MOST_BYTES_A_ROW * table.num_rows):
            what = f"its rows have {table.nbytes // table.num_rows:,} bytes on average, too many for an index"
            raise fault(path, what, "Leave long texts out: keep them in files, and their names in the table.")
        return cls(path, table, place_of, notes)

    def fault(self, what: str, row: int | None = None, *, remedy: str = CORRECT) -> UsageError:
        """Return the error for a table that cannot be used, or for one of its rows."""
        return fault(self.path, what if row is None else f"{self.place_of(row)}: {what}", remedy)

    def texts(self, name: str) -> pa.ChunkedArray:
        """Return a column of text; every row must have one. A `song_id` may be a whole number too.

        Raises
        ------
        UsageError
            If it holds another type, or a row is empty or holds a NUL.
        """
        column = self.table[name]
        if pa.types.is_integer(column.type) and name == "song_id":
            column = column.cast(pa.string())
        if not pa.types.is_string(column.type):
            raise self.fault(f"the column {name!r} holds {column.type} instead of text")
        for bad, what in (
            (pc.is_null(column), "is empty"),
            (pc.equal(column, ""), "is empty"),
            (pc.match_substring(column, "\0"), "holds a NUL character"),
        ):
            hit = pc.index(pc.fill_null(bad, False), True).as_py()
            if hit >= 0:
                raise self.fault(f"the column {name!r} {what}", hit)
        return column

    def refuse_duplicates(self, song_ids: pa.ChunkedArray, what: str = "song_id") -> None:
        """Refuse a list that has a song twice.

        Raises
        ------
        UsageError
            With the song and both lines.
        """
        for song_id in repeated(song_ids.iterchunks):
            first, second, *_ = pc.indices_nonzero(pc.equal(song_ids, song_id)).to_pylist()
            noun, _, one = self.place_of(first).partition(" ")
            places = f"{noun}s {one} and {self.place_of(second).partition(' ')[2]}"
            raise self.fault(f"the {what} {song_id!r} stands twice, in {places}")


def _read_parquet(path: Path) -> tuple[pa.Table, PlaceOf]:
    return pyarrow.parquet.read_table(path, partitioning=None), lambda row: f"row {row + 1}"


def _read_lines(path: Path) -> tuple[pa.Table, PlaceOf]:
    return read_lines(path), lambda row: f"line {line_of_object(path, row)}"


def _read_delimited(path: Path, texts: Collection[str]) -> tuple[pa.Table, PlaceOf]:
    text = Delimited.of(path)
    return text.read(texts), lambda row: f"line {text.line_of(row)}"


def _named(path: Path, table: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the table with a name for each column; leave out the row numbers that pandas and R write."""
    table = table.rename_columns([name.strip("\ufeff \t\r\n") for name in table.column_names])
    notes: list[str] = []
    for position, name in reversed(list(enumerate(table.column_names))):
        column = table[position]
        if name and name != _PANDAS_INDEX and not (name == "Unnamed: 0" and _are_row_numbers(column)):
            continue
        if name or (position == 0 and pa.types.is_integer(column.type)):
            notes.append(f"the column {position + 1} of the manifest is taken for row numbers and left out")
        elif column.null_count < len(column):
            raise fault(path, f"the column {position + 1} has no name", "Name it in the first line, or leave it out.")
        table = table.remove_column(position)
    if "path" not in table.column_names:
        known = next((name for name in _PATH_COLUMNS if name in table.column_names), "")
        table = table.rename_columns(["path" if name == known else name for name in table.column_names])
    if twice := [name for name, n in Counter(table.column_names).items() if n > 1]:
        raise fault(path, f"there are two columns {twice[0]!r}", "Rename one of them, or leave it out.")
    return table, tuple(notes)


def _are_row_numbers(column: pa.ChunkedArray) -> bool:
    """Return whether a column counts the rows, from 0 or from 1."""
    if not pa.types.is_integer(column.type) or column.null_count or not len(column):
        return False
    steps = pc.pairwise_diff(column.combine_chunks())
    return column[0].as_py() in (0, 1) and bool(pc.all(pc.equal(steps, 1), min_count=0).as_py())


def _plain(path: Path, table: pa.Table) -> pa.Table:
    """Cast every column to the plain types of an index; refuse bytes."""
    schema = pa.schema([pa.field(f.name, _plain_type(path, f.name, f.type)) for f in table.schema])
    for position, wanted in enumerate(schema):
        if "list_view" in str(table.schema.field(position).type):
            # pyarrow 26 casts these to lists whose offsets end too early.
            plain = pa.array(table.column(position).to_pylist(), wanted.type)
            table = table.set_column(position, wanted, plain)
    return table.cast(schema)


def _plain_type(path: Path, name: str, kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(path, name, kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _plain_type(path, name, kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _plain_type(path, name, f.type)) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(_plain_type(path, name, kind.key_type), _plain_type(path, name, kind.item_type))
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):  # lists of every sort
        return pa.list_(_plain_type(path, name, kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_timestamp(kind) and kind.tz:
        # As a query gives it; not every system knows every zone.
        return pa.timestamp(kind.unit, "UTC")
    if any(test(kind) for test in _BYTES):
        raise fault(path, f"the column {name!r} holds bytes that are not UTF-8 text")
    return kind


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
