"""Parquet bytes that carry a digest of themselves.

Page checksums protect the pages and leave the footer open. A sealed file also holds, in its footer's key-value
metadata, the SHA-256 of the whole file as it is with 64 zeros in the digest's place. Any Parquet reader reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from songbag_store.errors import DamagedStore

_DIGEST_KEY = b"songbag.sha256"
_FACTS_KEY = "songbag.facts"
_BLANK = b"0" * 64
_MOST_UNPACKED = 200
_PARQUET = ds.ParquetFileFormat()
# Thrift's compact protocol: the value follows its key as field 2 (0x18) with a length byte (64 = 0x40).
_SEAL = re.compile(re.escape(_DIGEST_KEY) + rb"\x18\x40([0-9a-f]{64})")


def seal(table: pa.Table, facts: Mapping[str, Any]) -> bytes:
    """Return a table and a few JSON facts as a sealed Parquet file.

    Parameters
    ----------
    table : pyarrow.Table
        Any table.
    facts : mapping
        JSON values, kept in the footer beside the digest.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": _repetitive(table),
        "use_byte_stream_split": _lists_of_floats(table),
    }
    with pq.ParquetWriter(buffer, table.schema, **options) as writer:
        writer.write_table(table, row_group_size=1 << 17)
        writer.add_key_value_metadata({_FACTS_KEY: json.dumps(facts), _DIGEST_KEY.decode(): _BLANK.decode()})
    data = bytearray(buffer.getvalue())
    start, stop = _find_seal(data)
    data[start:stop] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


class Sealed:
    """A sealed file of which every byte has been checked; its columns are decoded when somebody asks for them.

    Attributes
    ----------
    facts : dict
        What stands in the footer beside the digest.
    schema : pyarrow.Schema
        All its columns.
    n_rows : int
    sha256 : str
        The digest.
    """

    def __init__(self, data: bytes, *, key: str, where: str) -> None:
        self._data, self._key, self._where = data, key, where
        with self._damage():
            self.sha256 = check_seal(data)
            reader = self._reader()
            _check_size(reader.metadata, len(data))
            self.schema, self.n_rows = reader.schema_arrow.remove_metadata(), reader.metadata.num_rows
            metadata = reader.metadata.metadata or {}
            self.facts: dict[str, Any] = dict(json.loads(metadata[_FACTS_KEY.encode()]))

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Decode some columns, or all.

        Raises
        ------
        DamagedStore
            If they cannot be decoded, which only a file sealed by somebody else can cause.
        """
        with self._damage():
            return self._reader().read(columns).replace_schema_metadata()

    def pieces(self, columns: list[str]) -> Iterator[pa.Table]:
        """Decode some columns a row group at a time; raises as `read`."""
        with self._damage():
            reader = self._reader()
            for number in range(reader.num_row_groups):
                yield reader.read_row_group(number, columns).replace_schema_metadata()

    def dataset(self) -> ds.Dataset:
        """Return the rows as a dataset, for an engine that decodes what a question needs."""
        return ds.FileSystemDataset([_PARQUET.make_fragment(pa.BufferReader(self._data))], self.schema, _PARQUET)

    def _reader(self) -> pq.ParquetFile:
        # The digest covers every byte; the checksums of the pages are for other readers.
        return pq.ParquetFile(pa.BufferReader(self._data))

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError, RecursionError, pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DamagedStore(f"is damaged ({reason})", key=self._key, where=self._where) from error


def check_seal(data: bytes) -> str:
    """Return the digest of a sealed file.

    Raises
    ------
    ValueError
        If there is none, or it is not that of these bytes.
    """
    start, stop = _find_seal(data)
    claimed = bytes(data[start:stop])
    digest = hashlib.sha256()
    for piece in (memoryview(data)[:start], _BLANK, memoryview(data)[stop:]):
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


def _find_seal(data: bytes | bytearray) -> tuple[int, int]:
    """Return where the digest's 64 characters lie: behind the last occurrence of its key, in the footer."""
    found = _SEAL.search(data, max(0, data.rfind(_DIGEST_KEY)))
    if data[-4:] != b"PAR1" or found is None:
        raise ValueError("it is cut off or not a file of songbag")
    return found.span(1)


def _repetitive(table: pa.Table) -> list[str]:
    """Name the columns where dictionary encoding pays: text, but not the digests."""
    return [f.name for f in table.schema if pa.types.is_string(f.type) and f.name not in ("song_id", "content_sha256")]


def _lists_of_floats(table: pa.Table) -> list[str]:
    """Name the lists of sums: byte after byte of all their numbers they take 72 % of the space, see docs/scale.md."""
    return [f"{f.name}.list.element" for f in table.schema if f.type == pa.list_(pa.float64())]
