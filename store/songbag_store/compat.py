"""Assumptions about the insides of other libraries: Arrow's search for pandas, and the Blosc chunk.

`tests/store/test_compat.py` tests each.

A chunk of C-Blosc 1 (README_CHUNK_FORMAT.rst) is a header of 16 bytes, a 4-byte offset for each block, and the blocks,
each packed by itself. So a header with the offsets of some blocks is a chunk of these blocks.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from typing import NamedTuple

import numpy as np

from songbag_store.types import Bytes, Ints

_HEADER = struct.Struct("<4sIII")
_SIZE = struct.Struct("<I")
_FLAGS, _COPIED = 2, 0x02
_ONE_BLOCK = _HEADER.size + 4
"""Offset of the block in a chunk of one block."""


class BloscHeader(NamedTuple):
    """The header of a Blosc chunk.

    Attributes
    ----------
    kind : bytes
        Two versions, flags and the size of an item.
    n_bytes, block_bytes, n_packed : int
        Size of the unpacked chunk, of an unpacked block, and of the packed chunk.
    """

    kind: bytes
    n_bytes: int
    block_bytes: int
    n_packed: int

    @property
    def has_blocks(self) -> bool:
        """Whether the chunk has a list of blocks; a chunk that could not be packed has none."""
        return not self[0][_FLAGS] & _COPIED


def read_header(chunk: bytes | memoryview) -> BloscHeader:
    """Read the header of a Blosc chunk.

    Raises
    ------
    ValueError
        If the chunk is shorter than a header.
    """
    if len(chunk) < _HEADER.size:
        raise ValueError("a chunk is shorter than its header")
    return BloscHeader(*_HEADER.unpack_from(chunk))


def join_blocks(chunks: Sequence[bytes], block_bytes: int) -> bytes | None:
    """Join Blosc chunks of one block each to one chunk of them all.

    Parameters
    ----------
    chunks : sequence of bytes
        At least one.
    block_bytes : int
        Size of an unpacked block.

    Returns
    -------
    chunk : bytes or None
        None if one of the chunks is not a single block of this size.
    """
    first = read_header(chunks[0])
    alike = {read_header(chunk)[:3] for chunk in chunks} == {(first.kind, block_bytes, block_bytes)}
    if not alike or not first.has_blocks:
        return None
    list_end = _HEADER.size + 4 * len(chunks)
    ends = np.cumsum([len(chunk) - _ONE_BLOCK for chunk in chunks]) + list_end
    starts = np.concatenate(([list_end], ends[:-1])).astype("<i4")
    header = _HEADER.pack(first.kind, len(chunks) * block_bytes, block_bytes, ends[-1])
    return b"".join([header, starts.tobytes(), *(chunk[_ONE_BLOCK:] for chunk in chunks)])


def pick_blocks(chunk: Bytes, n_blocks: int, blocks: Ints, block_bytes: int) -> None:
    """Change a Blosc chunk in place to one of some of its blocks, in this order.

    Parameters
    ----------
    chunk : uint8, shape (bytes,)
        It has a list of blocks.
    n_blocks : int
        Blocks of the chunk.
    blocks : int64, shape (K,)
        Which to keep, at most `n_blocks`.
    block_bytes : int
        Size of an unpacked block, as the header has it.

    Raises
    ------
    ValueError
        If the chunk is shorter than its list of blocks.
    """
    list_end = _HEADER.size + 4 * n_blocks
    if list_end > len(chunk):
        raise ValueError("a chunk is shorter than the list of its blocks")
    starts = chunk[_HEADER.size : list_end].view(np.int32)
    starts[: len(blocks)] = starts[blocks]
    _SIZE.pack_into(chunk.data, 4, len(blocks) * block_bytes)


class _WithoutPandas(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise for pandas; leave all other modules to the finders behind this one."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def arrow_without_pandas() -> None:
    """Let Arrow look for pandas now, and not find it: for a command that needs no pandas.

    Arrow looks for pandas when a Python value first becomes an Arrow value, if only to compare a column with a word.
    Loading it takes longer than all else that a short command does. Arrow looks again when a table is to become a
    pandas one; until then it takes a pandas column for any sequence, so only a whole command may call this.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(None)
    finally:
        sys.meta_path.remove(finder)
