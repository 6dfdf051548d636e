"""Parts that wait for the next commit of a run, and when that is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from songbag_store.commits.parts import read_part
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage

_MEMORY_BYTES = 64 * 2**20
_EVERY_S = 120.0
_MOST_OF_TIME = 0.02


class WaitingParts(Mapping[str, pa.Table]):
    """Rows of finished parts by fragment.

    Memory: up to 64 MiB of rows, compressed (about 300,000 songs), and the names of the other parts. The rows of those
    are read again when they are asked for.

    Parameters
    ----------
    storage : Storage
        The store's, where the parts are.
    store_uuid : str
    spec : FeatureSpec
    memory_bytes : int
        Of compressed rows.
    """

    def __init__(
        self, storage: Storage, store_uuid: str, spec: FeatureSpec, *, memory_bytes: int = _MEMORY_BYTES
    ) -> None:
        self._storage, self._store_uuid, self._spec = storage, store_uuid, spec
        self._room = memory_bytes
        self._packed: dict[str, pa.Buffer | None] = {}
        self.n_songs = 0

    def add(self, fragment: str, rows: pa.Table) -> None:
        """Take in the rows of a part, which is durable."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        with pa.ipc.new_stream(sink, rows.schema, options=options) as stream:
            stream.write_table(rows)
        packed = sink.getvalue()
        self._packed[fragment] = packed if packed.size <= self._room else None
        self._room -= packed.size if packed.size <= self._room else 0
        self.n_songs += rows.num_rows

    def __getitem__(self, fragment: str) -> pa.Table:
        packed = self._packed[fragment]
        if packed is None:
            return read_part(self._storage, self._store_uuid, self._spec, fragment)
        return pa.ipc.open_stream(packed, options=pa.ipc.IpcReadOptions(use_threads=False)).read_all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class Pace:
    """How often a run commits: every two minutes, or less often, so that commits take at most 2 % of its time.

    A commit writes the whole index. At a fixed pace, what a run writes would grow with the square of its songs. At this
    one it stays in proportion: if a commit takes time in proportion to the index, the index grows by the same share
    between two commits.

    Parameters
    ----------
    clock : callable
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_s, self._took_s = clock(), 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._clock() - self._last_s > max(_EVERY_S, self._took_s / _MOST_OF_TIME)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Time the commit that happens inside."""
        began_s = self._clock()
        try:
            yield
        finally:
            self._last_s = self._clock()
            self._took_s = self._last_s - began_s
