"""Blosc chunks whose blocks are windows: those of a bag are unpacked, in the bag's order, and the others are not.

Any Blosc unpacks such a chunk as a whole. docs/decisions/0032 says what that gains.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np
from numcodecs import blosc

from songbag_store.types import Bytes, Ints, StoredWindows

_HEADER = struct.Struct("<4sIII")
"""Versions, flags and item size in four bytes; bytes unpacked, of a block, and packed. Behind it a 4-byte offset for
each block, then the blocks: the chunk format of C-Blosc 1 (README_CHUNK_FORMAT.rst)."""

_FLAGS, _COPIED = 2, 0x02
_ONE_BLOCK = _HEADER.size + 4
_SIZE = struct.Struct("<I")

_LOCAL = threading.local()


def pack_by_window(chunk: Bytes, codec: blosc.Blosc) -> bytes:
    """Pack a chunk with a block for each window.

    Blosc itself makes no block smaller than 64 kB when it packs the bytes of a number apart, as it does for LZ4. So
    every window is packed alone, as a chunk of one block, and their blocks are joined.

    Parameters
    ----------
    chunk : uint8, shape (bytes,)
        Whole windows.
    codec : numcodecs.Blosc
        Its block size is that of a window.

    Returns
    -------
    packed : bytes
        What `codec` itself makes of the chunk if a window cannot be packed to one block: noise is stored as it is.
    """
    windows = [codec.encode(window) for window in chunk.reshape(-1, codec.blocksize)]
    kinds = {_HEADER.unpack_from(window)[:3] for window in windows}
    kind, n_bytes, block_bytes = next(iter(kinds))
    if len(kinds) > 1 or not n_bytes == block_bytes == codec.blocksize or kind[_FLAGS] & _COPIED:
        whole: bytes = codec.encode(chunk)
        return whole
    ends = np.cumsum([len(window) - _ONE_BLOCK for window in windows]) + _HEADER.size + 4 * len(windows)
    starts = np.concatenate(([_HEADER.size + 4 * len(windows)], ends[:-1])).astype("<i4")
    header = _HEADER.pack(kind, chunk.nbytes, block_bytes, ends[-1])
    return b"".join([header, starts.tobytes(), *(window[_ONE_BLOCK:] for window in windows)])


def unpack_windows(packed: Bytes, windows: Ints, n_windows: int, out: StoredWindows) -> None:
    """Unpack some windows of a chunk.

    Parameters
    ----------
    packed : uint8, shape (bytes,)
        The chunk, which is changed, and four bytes more.
    windows : int64, shape (K,)
        Which, in the order wanted.
    n_windows : int
        Of the whole chunk.
    out : int16 or float32, shape (K, C, T)
        Contiguous.

    Raises
    ------
    ValueError
        If the chunk is not of so many windows, or Blosc cannot unpack it.
    """
    n_wanted = len(windows)
    window_bytes = out.nbytes // n_wanted
    chunk = packed[:-4]
    # Blosc trusts its header with what it reads and writes, so that is compared before.
    if len(chunk) < _HEADER.size:
        raise ValueError("a chunk is shorter than its header")
    kind, n_bytes, block_bytes, n_packed = _HEADER.unpack_from(packed.data)
    if n_bytes != n_windows * window_bytes or n_packed != len(chunk):
        raise ValueError("a chunk has another size than the array's")
    if n_wanted < n_windows and block_bytes == window_bytes and not kind[_FLAGS] & _COPIED:
        list_end = _HEADER.size + 4 * n_windows
        if list_end > n_packed:
            raise ValueError("a chunk is shorter than the list of its blocks")
        # With other blocks in its list, and as many as its header says, it is a chunk of these windows.
        starts = packed[_HEADER.size : list_end].view(np.int32)
        starts[:n_wanted] = starts[windows]
        _SIZE.pack_into(packed.data, 4, out.nbytes)
        _unpack(chunk, out)
    elif n_wanted == n_windows and (windows == np.arange(n_windows)).all():
        _unpack(chunk, out)
    else:
        whole = _whole_of_this_thread((n_windows, *out.shape[1:]), out.dtype)
        _unpack(chunk, whole)
        whole.take(windows, 0, out, "clip")  # "raise" would buffer


def _unpack(chunk: Bytes, out: StoredWindows) -> None:
    try:
        blosc.decompress(chunk, out)
    except RuntimeError as error:
        raise ValueError(f"a chunk cannot be unpacked ({error})") from error


def memory_of_this_thread(n_bytes: int) -> Bytes:
    """Return memory for a packed chunk, the same one each time: new memory would take longer than reading into it."""
    if len(getattr(_LOCAL, "packed", b"")) < n_bytes:
        _LOCAL.packed = np.empty(n_bytes, np.uint8)
    memory: Bytes = _LOCAL.packed[:n_bytes]
    return memory


def copied_for_this_thread(packed: Bytes) -> Bytes:
    """Return a packed chunk in memory of this thread."""
    memory = memory_of_this_thread(len(packed))
    memory[:] = packed
    return memory


def _whole_of_this_thread(shape: tuple[int, ...], dtype: np.dtype[Any]) -> StoredWindows:
    """Return memory for an unpacked chunk, likewise."""
    if getattr(_LOCAL, "made_for", None) != (shape, dtype):
        _LOCAL.made_for, _LOCAL.whole = (shape, dtype), np.empty(shape, dtype)
    whole: StoredWindows = _LOCAL.whole
    return whole
