"""Parquet bytes that carry a digest of themselves.

Page checksums protect the pages and leave the footer open. A sealed file also holds, in its footer's key-value
metadata, the SHA-256 of the whole file as it is with 64 zeros in the digest's place. Any Parquet reader reads it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from songbag_store.errors import DamagedStore
from songbag_store.format.document import T, parse_document, read_fields, reason
from songbag_store.format.index import CONTENT

_DIGEST_KEY = b"songbag.sha256"
_FACTS_KEY = "songbag.facts"
_BLANK = b"0" * 64
_FOREIGN = "it is cut off or not a file of songbag"
_MOST_UNPACKED = 200
_GROUP_ROWS = 1 << 13
_PARQUET = ds.ParquetFileFormat()


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are made while they are written, so that they are never in memory together.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of every piece.
    pieces : iterable of pyarrow.Table
        The rows in order; drawn once.
    """

    schema: pa.Schema
    pieces: Iterable[pa.Table]


def seal(rows: pa.Table | Rows, facts: Mapping[str, Any], *, group_rows: int = _GROUP_ROWS) -> bytes:
    """Return rows and a few JSON facts as a sealed Parquet file.

    Parameters
    ----------
    rows : pyarrow.Table or Rows
        Any table. Of `Rows` a group is in memory at a time, beside the file.
    facts : mapping
        JSON values, kept in the footer beside the digest.
    group_rows : int
        Rows of a group of the file, the last one aside.
    """
    buffer = io.BytesIO()
    # Found again in the footer, where the digest then takes its place: no other text there is the same.
    placeholder = secrets.token_hex(32)
    options: dict[str, Any] = {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": _repetitive(rows.schema),
        "use_byte_stream_split": _lists_of_floats(rows.schema),
    }
    with pq.ParquetWriter(buffer, rows.schema, **options) as writer:
        groups = _groups(rows.pieces if isinstance(rows, Rows) else [rows], group_rows)
        while (group := next(groups, None)) is not None:
            writer.write_table(group, row_group_size=group_rows)
            del group  # or it would be there while the next one is made
        writer.add_key_value_metadata({_FACTS_KEY: json.dumps(facts), _DIGEST_KEY.decode(): placeholder})
    with buffer.getbuffer() as data:
        # A copy of the footer alone: its size stands before the last four bytes of any Parquet file.
        footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        start = footer + bytes(data[footer:]).index(placeholder.encode())
        data[start : start + 64] = _BLANK
        data[start : start + 64] = hashlib.sha256(data).hexdigest().encode()
    return buffer.getvalue()


def _groups(pieces: Iterable[pa.Table], group_rows: int) -> Iterator[pa.Table]:
    """Join pieces to tables of whole row groups, the last one aside."""
    held: list[pa.Table] = []
    n_rows = 0
    for piece in pieces:
        held.append(piece)
        n_rows += piece.num_rows
        if n_rows >= group_rows:
            joined, held = pa.concat_tables(held), []
            del piece
            whole = n_rows - n_rows % group_rows
            n_rows -= whole
            if n_rows:
                held.append(joined.slice(whole))
            group = [joined.slice(0, whole)]
            del joined
            yield group.pop()
    if n_rows:
        yield pa.concat_tables(held)


class Sealed:
    """A sealed file of which every byte has been checked; its columns are decoded when somebody asks for them.

    Parameters
    ----------
    data : bytes
        The file.
    key, place : str
        Its name and where it lies, for errors.
    group_rows : int
        Rows of a piece of some columns; one of all columns has an eighth.

    Attributes
    ----------
    facts : dict
        What stands in the footer beside the digest.
    schema : pyarrow.Schema
        All its columns.
    n_rows : int
        Rows of the file.
    sha256 : str
        The digest.
    """

    def __init__(self, data: bytes, *, key: str, place: str, group_rows: int = _GROUP_ROWS) -> None:
        # Kept for as long as this object: what Arrow's threads let go of is then never the last reference to it, for
        # which a thread needs Python's lock, and is ended without it while the process ends.
        self._buffer = pa.py_buffer(data)
        self._key, self._place, self._group_rows = key, place, group_rows
        with self._damage():
            self.sha256 = check_seal(data)
            reader = self._reader()
            _check_size(reader.metadata, len(data))
            self.schema, self.n_rows = reader.schema_arrow.remove_metadata(), int(reader.metadata.num_rows)
            metadata = reader.metadata.metadata or {}
            self.facts = parse_document(metadata[_FACTS_KEY.encode()])

    def read_facts(self, cls: type[T]) -> T:
        """Return the facts as a dataclass.

        Raises
        ------
        DamagedStore
            If they are not its fields, see `read_fields`.
        """
        with self._damage():
            return read_fields(cls, self.facts)

    def read(self, columns: list[str] | None = None, repetitive: list[str] | None = None) -> pa.Table:
        """Decode some columns, or all; those of a few different texts as dictionaries on request.

        Raises
        ------
        DamagedStore
            If they cannot be decoded, which only a file sealed by somebody else can cause.
        """
        with self._damage():
            # Not for a few rows: a process that ends while Arrow's threads are being started is aborted.
            table = self._reader(repetitive).read(columns, use_threads=self.n_rows > self._group_rows)
            return table.unify_dictionaries().replace_schema_metadata()

    def pieces(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Decode some columns a few thousand rows at a time, or all, a thousand; errors as of `read`."""
        at_once = self._group_rows if columns else max(1, self._group_rows // 8)
        with self._damage():
            for batch in self._reader().iter_batches(at_once, columns=columns, use_threads=False):
                yield pa.Table.from_batches([batch]).replace_schema_metadata()

    def dataset(self) -> ds.Dataset:
        """Return the rows as a dataset, for an engine that decodes what a question needs."""
        return ds.FileSystemDataset([_PARQUET.make_fragment(pa.BufferReader(self._buffer))], self.schema, _PARQUET)

    def _reader(self, repetitive: list[str] | None = None) -> pq.ParquetFile:
        # The digest covers every byte; the checksums of the pages are for other readers.
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
        If there is none, or it is not that of these bytes.
    """
    try:
        claimed = pq.read_metadata(pa.BufferReader(data)).metadata[_DIGEST_KEY]
    except (KeyError, TypeError, pa.ArrowException, OSError) as error:
        raise ValueError(_FOREIGN) from error
    start = data.rfind(claimed)
    digest = hashlib.sha256()
    for piece in (memoryview(data)[:start], _BLANK, memoryview(data)[start + 64 :]):
        digest.update(piece)
    if digest.hexdigest().encode() != claimed:
        raise ValueError("its digest does not match its bytes")
    return digest.hexdigest()


def _check_size(footer: pq.FileMetaData, n_bytes: int) -> None:
    """Refuse a file that would unpack to far more than songbag ever writes, before any of it is decoded.

    A guard against a file made to exhaust memory: every row has an id of its own, which takes more than a byte.
    """
    unpacked = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    if footer.num_rows > n_bytes or unpacked > _MOST_UNPACKED * n_bytes:
        raise ValueError(f"it says that its {n_bytes:,} bytes are {footer.num_rows:,} rows of {unpacked:,} bytes")


def _repetitive(schema: pa.Schema) -> list[str]:
    """Name the columns where dictionary encoding pays: text, but not the digests."""
    return [f.name for f in schema if pa.types.is_string(f.type) and f.name not in ("song_id", CONTENT)]


def _lists_of_floats(schema: pa.Schema) -> list[str]:
    """Name the lists of sums: byte after byte of all their numbers they take 72 % of the space, see docs/scale.md."""
    return [f"{f.name}.list.element" for f in schema if f.type == pa.list_(pa.float64())]
