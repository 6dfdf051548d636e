"""Parquet files with their own SHA-256 in the footer, taken with 64 zeros in the place of the digest.

Page checksums do not protect the footer; this does. Any Parquet reader reads such a file.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store.errors import DamagedStore
from songbag_store.format.document import BLANK, T, blank_digest, parse_document, read_fields, reason
from songbag_store.format.index import CONTENT, completed
from songbag_store.machine import n_cores
from songbag_store.words import counted

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_DIGEST_KEY = b"songbag.sha256"
FACTS_KEY = "songbag.facts"
"""Where the footer has its facts."""

_FOREIGN = "it is cut off or not a file of songbag"
# The two fields of an entry as Thrift writes them. They are found without Arrow, which may crash on a footer with a
# changed bit: it reads one only after the digest has matched.
_SEAL = re.compile(re.escape(_DIGEST_KEY) + rb"\x18\x40([0-9a-f]{64})")
_MOST_UNPACKED = 200
_SMALL_BYTES = 256 << 20
_GROUP_ROWS = 1 << 13
_GROUPS_AT_ONCE = 8
"""So many groups are a thread's turn: opening the file again takes as long as decoding one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are made while they are written, so that they are never all in memory.

    Attributes
    ----------
    schema : pyarrow.Schema
        Schema of every piece.
    pieces : iterable of pyarrow.Table
        The rows in order; read once.
    """

    schema: pa.Schema
    pieces: Iterable[pa.Table]


def seal(rows: pa.Table | Rows, facts: Mapping[str, Any], *, group_rows: int = _GROUP_ROWS) -> bytes:
    """Return rows and a few JSON facts as a sealed Parquet file.

    Parameters
    ----------
    rows : pyarrow.Table or Rows
        Any table. Of `Rows` one group is in memory at a time, beside the file.
    facts : mapping
        JSON values for the footer.
    group_rows : int
        Rows of a group of the file, except the last.
    """
    buffer = io.BytesIO()
    # A text that is nowhere else in the footer; the digest replaces it.
    placeholder = secrets.token_hex(32)
    # Dictionary encoding pays for text, but neither for ids nor for digests.
    texts = [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name not in ("song_id", CONTENT)]
    # Byte stream split makes lists of sums 28 % smaller, see docs/explanation/scale.md.
    sums = [f"{f.name}.list.element" for f in rows.schema if f.type == pa.list_(pa.float64())]
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "use_byte_stream_split": sums}
    with pq.ParquetWriter(buffer, rows.schema, use_dictionary=texts, **options) as writer:
        groups = _groups(rows.pieces if isinstance(rows, Rows) else [rows], group_rows)
        while (group := next(groups, None)) is not None:
            writer.write_table(group, row_group_size=group_rows)
            del group  # or it would be in memory while the next one is made
        writer.add_key_value_metadata({FACTS_KEY: json.dumps(facts), _DIGEST_KEY.decode(): placeholder})
    with buffer.getbuffer() as data:
        # A copy of the footer alone: its size stands before the last four bytes of any Parquet file.
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        start = footer + bytes(data[footer:]).index(placeholder.encode())
        data[start : start + len(BLANK)] = blank_digest(data, start).encode()
    return buffer.getvalue()


def _groups(pieces: Iterable[pa.Table], group_rows: int) -> Iterator[pa.Table]:
    """Join pieces to tables of whole row groups, except the last."""
    held: list[pa.Table] = []
    n_rows = 0
    for piece in pieces:
        held.append(piece)
        n_rows += piece.num_rows
        if n_rows >= group_rows:
            joined = pa.concat_tables(held)
            del piece
            whole = n_rows - n_rows % group_rows
            n_rows -= whole
            held = [joined.slice(whole)] if n_rows else []
            group = [joined.slice(0, whole)]
            del joined
            yield group.pop()
    if n_rows:
        yield pa.concat_tables(held)


class Sealed:
    """A sealed file whose digest has been checked; its columns are decoded on request.

    Columns that songbag has added since the file was written are null.

    Parameters
    ----------
    data : bytes
        The file.
    key, place : str
        Its name and its store, for errors.
    group_rows : int
        Rows of a piece of some columns; a piece of all columns has an eighth.

    Attributes
    ----------
    facts : dict
        The JSON values of the footer.
    schema : pyarrow.Schema
        All columns.
    n_rows : int
        Rows of the file.
    sha256 : str
        The digest.
    """

    def __init__(self, data: bytes, *, key: str, place: str, group_rows: int = _GROUP_ROWS) -> None:
        # Kept so that a thread of Arrow never drops the last reference: that needs Python's lock, and a process that is
        # ending kills a thread that waits for it.
        self._buffer = pa.py_buffer(data)
        self._key, self._place, self._group_rows = key, place, group_rows
        with self._damage():
            self.sha256 = check_seal(data)
            reader = self._reader()
            _check_size(reader.metadata, len(data))
            self.schema, self.n_rows = completed(reader.schema_arrow.remove_metadata()), int(reader.metadata.num_rows)
            self._absent = set(self.schema.names) - set(reader.schema_arrow.names)
            self.facts = parse_document((reader.metadata.metadata or {})[FACTS_KEY.encode()])

    def read_facts(self, cls: type[T]) -> T:
        """Return the facts as a dataclass.

        Raises
        ------
        DamagedStore
            If they do not fit its fields, see `read_fields`.
        """
        with self._damage():
            return read_fields(cls, self.facts)

    def read(self, columns: list[str] | None = None, repetitive: list[str] | None = None) -> pa.Table:
        """Decode some columns, or all; those in `repetitive` become dictionaries.

        Raises
        ------
        DamagedStore
            If they cannot be decoded: songbag did not make the file.
        """
        with self._damage():
            # No threads for a few rows: a process that ends while Arrow starts them is aborted.
            table = self._reader(repetitive).read(self._read(columns), use_threads=self.n_rows > self._group_rows)
            return self._completed(table.unify_dictionaries(), columns)

    def pieces(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Decode some columns a group at a time, or all, an eighth of a group at a time; errors are those of `read`."""
        yield from self._pieces(columns)

    def each(self, function: Callable[[pa.Table], T], columns: list[str]) -> Iterator[T]:
        """Apply a function to some columns a group at a time, in the order of the rows.

        Where there are many groups, several threads decode and apply it, and memory holds a group a thread. Errors are
        those of `read` and of the function.
        """
        with self._damage():
            n_groups = self._reader().num_row_groups
        if n_groups <= _GROUPS_AT_ONCE:
            yield from map(function, self._pieces(columns))
            return

        def some(start: int) -> list[T]:
            groups = range(start, min(start + _GROUPS_AT_ONCE, n_groups))
            return [function(piece) for piece in self._pieces(columns, groups)]

        with ThreadPoolExecutor(n_cores()) as pool:
            for results in pool.map(some, range(0, n_groups, _GROUPS_AT_ONCE)):
                yield from results

    def _pieces(self, columns: list[str] | None, groups: range | None = None) -> Iterator[pa.Table]:
        """Decode a group at a time, of all or of some of the file; see `pieces`."""
        at_once = self._group_rows if columns else max(1, self._group_rows // 8)
        read = self._read(columns)
        with self._damage():
            for batch in self._reader().iter_batches(at_once, groups, read, use_threads=False):
                yield self._completed(pa.Table.from_batches([batch]), columns)

    def dataset(self) -> ds.Dataset:
        """Return the rows as a dataset, for an engine that decodes only the columns of its query."""
        from pyarrow import dataset  # it loads pandas, which most commands do without

        parquet = dataset.ParquetFileFormat()
        return dataset.FileSystemDataset([parquet.make_fragment(pa.BufferReader(self._buffer))], self.schema, parquet)

    def _read(self, columns: list[str] | None) -> list[str] | None:
        """Return which columns to decode, at least one, because it tells how many rows there are."""
        if columns is None or not self._absent:
            return columns
        return [name for name in columns if name not in self._absent] or self.schema.names[:1]

    def _completed(self, table: pa.Table, columns: list[str] | None) -> pa.Table:
        """Return decoded columns together with those that the file lacks."""
        names = self.schema.names if columns is None else columns
        if self._absent.isdisjoint(names):
            return table.replace_schema_metadata()
        fields = {field.name: field for field in (*(self.schema.field(n) for n in self._absent), *table.schema)}
        schema = pa.schema([fields[name] for name in names if name in fields])
        filled = [pa.nulls(len(table), f.type) if f.name in self._absent else table[f.name] for f in schema]
        return pa.table(filled, schema=schema)

    def _reader(self, repetitive: list[str] | None = None) -> pq.ParquetFile:
        # No check of page checksums: the digest covers every byte. They are for other readers.
        return pq.ParquetFile(pa.BufferReader(self._buffer), read_dictionary=repetitive)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError, RecursionError, pa.ArrowException, OSError) as error:
            raise DamagedStore(f"is damaged ({reason(error)})", key=self._key, place=self._place) from error


def check_seal(data: bytes) -> str:
    """Return the digest of a sealed file.

    Raises
    ------
    ValueError
        If there is none, or it does not match the bytes.
    """
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    *_, found = None, *_SEAL.finditer(data, max(0, footer))
    if found is None:
        raise ValueError(_FOREIGN)
    digest = blank_digest(data, found.start(1))
    if digest.encode() != found[1]:
        raise ValueError("its digest does not match its bytes")
    return digest


def _check_size(footer: pq.FileMetaData, n_bytes: int) -> None:
    """Refuse a file made to exhaust memory, before any of it is decoded."""
    # Every row of songbag has its own id, which takes more than a byte. Long texts of the user may be packed well.
    unpacked = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    if footer.num_rows > n_bytes or unpacked > max(_MOST_UNPACKED * n_bytes, _SMALL_BYTES):
        rows = counted(footer.num_rows, "row")
        raise ValueError(f"it says that its {n_bytes:,} bytes are {rows} of {unpacked:,} bytes")
