"""Blosc chunks with a block for each window, so that single windows can be unpacked; see docs/decisions/0032."""

from __future__ import annotations

import threading

import numpy as np
from numcodecs import blosc

from songbag_store.compat import join_blocks, pick_blocks, read_header
from songbag_store.types import Bytes, Ints, StoredWindows

_LOCAL = threading.local()

# The reader has threads of its own, and Blosc's take longer to wake than a chunk of 100 kB takes to unpack. If this is
# not set, numcodecs looks at each chunk which thread it is in.
blosc.use_threads = False


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
        What `codec` itself makes of the chunk if a window cannot be packed to one block, as is the case for noise.
    """
    # With LZ4, Blosc makes no block smaller than 64 kB. So every window is packed as a chunk of its own first.
    windows = [codec.encode(window) for window in chunk.reshape(-1, codec.blocksize)]
    joined = join_blocks(windows, codec.blocksize)
    return bytes(codec.encode(chunk)) if joined is None else joined


def unpack_windows(packed: Bytes, windows: Ints, n_windows: int, out: StoredWindows) -> None:
    """Unpack some windows of a chunk.

    Parameters
    ----------
    packed : uint8, shape (bytes,)
        The chunk and four more bytes. The chunk is changed.
    windows : int64, shape (K,)
        Which windows, in this order.
    n_windows : int
        Windows of the whole chunk.
    out : int16 or float32, shape (K, C, T)
        Contiguous.

    Raises
    ------
    ValueError
        If the chunk has another number of windows, or Blosc cannot unpack it.
    """
    n_wanted = len(windows)
    window_bytes = out.nbytes // n_wanted
    chunk = packed[:-4]
    header = read_header(chunk.data)
    # Blosc trusts the header when it reads and writes, so its sizes are compared first.
    if header.n_bytes != n_windows * window_bytes or header.n_packed != len(chunk):
        raise ValueError("a chunk has another size than the array's")
    unpacked = out
    if n_wanted < n_windows and header.block_bytes == window_bytes and header.has_blocks:
        pick_blocks(chunk, n_windows, windows, window_bytes)
    elif n_wanted != n_windows or (windows != np.arange(n_windows)).any():
        whole = memory_of_this_thread(n_windows * window_bytes, "unpacked")
        unpacked = whole.view(out.dtype).reshape(n_windows, *out.shape[1:])
    try:
        blosc.decompress(chunk, unpacked)
    except RuntimeError as error:
        raise ValueError(f"a chunk cannot be unpacked ({error})") from error
    if unpacked is not out:
        unpacked.take(windows, 0, out, "clip")  # "raise" would buffer


def memory_of_this_thread(n_bytes: int, purpose: str = "packed") -> Bytes:
    """Return memory for a chunk, the same each time: reading into new memory takes longer."""
    memory: Bytes | None = getattr(_LOCAL, purpose, None)
    if memory is None or len(memory) < n_bytes:
        memory = np.empty(n_bytes, np.uint8)
        setattr(_LOCAL, purpose, memory)
    return memory[:n_bytes]


def copied_for_this_thread(packed: Bytes) -> Bytes:
    """Return a copy of a packed chunk in memory of this thread."""
    memory = memory_of_this_thread(len(packed))
    memory[:] = packed
    return memory
