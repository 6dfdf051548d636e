"""Blosc chunks whose blocks are windows: only the windows of a bag are unpacked, in the bag's order.

Any Blosc unpacks such a chunk as a whole. docs/decisions/0032 says what this gains.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numcodecs import blosc

from songbag_store.compat import join_blocks, pick_blocks, read_header
from songbag_store.types import Bytes, Ints, StoredWindows

_LOCAL = threading.local()


def pack_by_window(chunk: Bytes, codec: blosc.Blosc) -> bytes:
    """Pack a chunk with a block for each window.

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
    # Blosc makes no block smaller than 64 kB when it packs the bytes of a number apart, as it does for LZ4. So every
    # window is packed as a chunk of its own first.
    windows = [codec.encode(window) for window in chunk.reshape(-1, codec.blocksize)]
    joined = join_blocks(windows, codec.blocksize)
    return bytes(codec.encode(chunk)) if joined is None else joined


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
    header = read_header(chunk.data)
    # Blosc trusts its header when it reads and writes, so these sizes are compared first.
    if header.n_bytes != n_windows * window_bytes or header.n_packed != len(chunk):
        raise ValueError("a chunk has another size than the array's")
    if n_wanted < n_windows and header.block_bytes == window_bytes and header.has_blocks:
        pick_blocks(chunk, n_windows, windows)
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
    """Return memory for a packed chunk, the same each time: reading into new memory takes longer."""
    if len(getattr(_LOCAL, "packed", b"")) < n_bytes:
        _LOCAL.packed = np.empty(n_bytes, np.uint8)
    memory: Bytes = _LOCAL.packed[:n_bytes]
    return memory


def copied_for_this_thread(packed: Bytes) -> Bytes:
    """Return a copy of a packed chunk in memory of this thread."""
    memory = memory_of_this_thread(len(packed))
    memory[:] = packed
    return memory


def _whole_of_this_thread(shape: tuple[int, ...], dtype: np.dtype[Any]) -> StoredWindows:
    """Return memory for an unpacked chunk, the same each time."""
    if getattr(_LOCAL, "made_for", None) != (shape, dtype):
        _LOCAL.made_for, _LOCAL.whole = (shape, dtype), np.empty(shape, dtype)
    whole: StoredWindows = _LOCAL.whole
    return whole
