"""Memory of the process that runs `extract`: given back to the system when it is not needed any more."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8
_ARENAS = 2
_KEPT_BYTES = 64 << 10


@contextmanager
def lean_memory() -> Iterator[None]:
    """Have Arrow allocate as everybody else does, and the C library keep little of what is freed.

    A run of hours commits again and again, from several threads. Arrow's own allocator and the C library's arena for
    every thread keep what each commit took: of 100,000 songs that was 130 MB, more than everything else together
    (`python -m benchmarks.bookkeeping`).
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
