"""Windows read from the fragments of a store by threads, or by processes where bags of a folder are waited for.

docs/decisions/0031 says why processes.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Protocol

import numpy as np

from songbag_store.errors import DamagedStore, StoreError
from songbag_store.format import keys
from songbag_store.format.array import read_layout
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.batch_memory import BatchMemory
from songbag_store.windows.chunk_memory import ChunkMemory
from songbag_store.windows.open_files import KeptOpen
from songbag_store.windows.process import ProcessRule, ReadingProcess, WaitingShare
from songbag_store.windows.shards import FileShard, RemoteShard, Shard, ShardedArray
from songbag_store.windows.spans import Span, Spans

_OPEN_ARRAYS = 4096
_OPEN_SHARDS = 256
_REQUESTS_AT_ONCE = 32


class Pending(Protocol):
    """Windows that are being read."""

    def result(self) -> StoredWindows:
        """Wait for the windows, as stored, and return them.

        Raises
        ------
        DamagedStore
            If a fragment or a shard is missing, cut off or changed, or is not what the index says.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _PendingBags:
    """Bags that several jobs fill; `note` is told their bytes and how long they were waited for."""

    bags: StoredWindows
    jobs: Sequence[Callable[[], None]]
    note: Callable[[int, float], None]

    def result(self) -> StoredWindows:
        began_s = time.monotonic()
        for wait in self.jobs:
            wait()
        self.note(self.bags.nbytes, time.monotonic() - began_s)
        return self.bags


class FragmentReader:
    """Reads windows; many reads may be under way at once, for any number of threads.

    A missing, cut-off or changed shard is an error, never zeros.

    Parameters
    ----------
    storage : Storage
        Where the arrays lie.
    spec : FeatureSpec
        What their windows must look like; kept as an attribute.
    open_cached : callable, optional
        Returns a file descriptor of a remote shard that is kept on this machine, or None; from its key.
    memory : ChunkMemory, optional
        Keeps what is read, as far as there is room.
    file_shard : type of FileShard
        Reads the shards that are files.
    rule : ProcessRule
        Says when processes help.
    open_arrays, open_shards : int
        How many of each stay open.
    """

    def __init__(
        self,
        storage: Storage,
        spec: FeatureSpec,
        open_cached: Callable[[str], int | None] | None = None,
        memory: ChunkMemory | None = None,
        file_shard: type[FileShard] = FileShard,
        rule: ProcessRule | None = None,
        open_arrays: int = _OPEN_ARRAYS,
        open_shards: int = _OPEN_SHARDS,
    ) -> None:
        self.spec = spec
        self._open_cached = open_cached
        self._memory = memory
        self._file_shard = file_shard
        self._rule = rule or ProcessRule()
        self._storage = storage
        self._arrays: KeptOpen[ShardedArray] = KeptOpen(open_arrays)
        self._shards: KeptOpen[Shard] = KeptOpen(open_shards)
        self._begin_here()

    def _begin_here(self) -> None:
        """Make what belongs to one process: a fork shares its parent's memory of batches and lacks its threads."""
        self._process = os.getpid()
        self._batches = BatchMemory()
        self._processes: list[ReadingProcess] = []
        self._waiting = WaitingShare(self._rule)
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix="songbag-read")

    def read(self, span: Span) -> Pending:
        """Start to read the windows of a song, shape (N, C, T)."""
        if self._process != os.getpid():
            self._begin_here()
        return self._threads.submit(self._read_span, span)

    def read_all(self, spans: Iterable[Span]) -> list[StoredWindows]:
        """Read several songs at once."""
        return [one.result() for one in [self.read(span) for span in spans]]

    def read_bags(self, spans: Spans, windows: Ints) -> Pending:
        """Start to read some windows of each of several songs, shape (B, K, C, T).

        Parameters
        ----------
        spans : Spans
            The songs.
        windows : int64, shape (B, K)
            Which windows of each song, counted from the start of its span.

        Raises
        ------
        IndexError
            If a window lies outside its span.
        """
        if self._process != os.getpid():
            self._begin_here()
        if windows.min() < 0 or (windows >= spans.n_windows[:, None]).any():
            raise IndexError("a window lies outside its song")
        memory = self._batches.take(windows.size * self.spec.window_bytes)
        bags = memory.view(self.spec.encoding).reshape(*windows.shape, *self.spec.window_shape)
        processes = self._ready_processes()
        n_jobs = self._n_threads
        if processes:
            # Other batches keep the other processes busy, and handing over a job takes as long as reading two songs.
            n_jobs = min(len(processes), math.ceil(memory.nbytes / self._rule.job_bytes))
        per_job = math.ceil(len(spans) / n_jobs)
        jobs = []
        for first in range(0, len(spans), per_job):
            cut = slice(first, first + per_job)
            # The first one if it has nothing to do: of two that take turns, both would find their caches cold.
            process = min(processes, key=ReadingProcess.n_waiting, default=None)
            jobs.append(self._begin(process, spans[cut], windows[cut], bags[cut]))
        return _PendingBags(bags, jobs, self._note_waiting)

    def _begin(
        self, process: ReadingProcess | None, spans: Spans, windows: Ints, bags: StoredWindows
    ) -> Callable[[], None]:
        """Have bags filled by a process if it takes the job, else by a thread; return what waits for it."""
        place = None if process is None else self._batches.place(bags.view(np.uint8))
        if process is not None and place is not None:
            job = process.begin(place, spans, windows, bags)
            if job is not None:
                # What a process cannot read is read here again: it works, or its error names the place.
                return lambda: None if process.wait(job) else self.fill_bags(spans, windows, bags)
        return self._threads.submit(self.fill_bags, spans, windows, bags).result

    def _ready_processes(self) -> list[ReadingProcess]:
        """Return the processes that read, if all are ready."""
        if any(one.is_gone for one in self._processes):
            # Where other work takes all cores, they would be given up again and again.
            self._rule = dataclasses.replace(self._rule, after_bytes=8 * self._rule.after_bytes)
            self._processes, self._waiting = [], WaitingShare(self._rule)
        return self._processes if all(one.is_ready() for one in self._processes) else []

    def _note_waiting(self, n_bytes: int, waited_s: float) -> None:
        """Start processes if bags are waited for."""
        is_large, rule = self._waiting.is_large(n_bytes, waited_s, time.monotonic()), self._rule
        # A worker of a pool must not have children, and a memory of chunks is of this process alone.
        alone = multiprocessing.current_process().daemon or self._memory is not None or rule.n_processes < 2
        if not is_large or alone or self._processes:
            return
        folder, file = self._storage.local_path(""), self._batches.file
        if folder is not None and file is not None:
            start = partial(ReadingProcess, folder, self.spec, file, rule.patience_s)
            self._processes = [start() for _ in range(rule.n_processes)]

    def _read_span(self, span: Span) -> StoredWindows:
        with self._naming(span):
            array = self._arrays.get(span.fragment, self._open_array)
            _check_inside(array.shape[0], span.row_start, span.n_windows)
            windows = np.empty((span.n_windows, *array.shape[1:]), array.dtype_name)
            array.read_span(span.row_start, windows)
        return windows

    def fill_bags(self, spans: Spans, windows: Ints, bags: StoredWindows) -> None:
        """Read some windows of each of several songs into `bags`, in this thread; see `read_bags`."""
        try:
            self._fill(spans, windows, bags)
        except Exception:
            # Once more, one by one, so that the error names its song.
            for number, span in enumerate(spans):
                one = slice(number, number + 1)
                with self._naming(span):
                    self._fill(spans[one], windows[one], bags[one])

    def _fill(self, spans: Spans, windows: Ints, bags: StoredWindows) -> None:
        opened = {name: self._arrays.get(name, self._open_array) for name in set(spans.fragments)}
        arrays = [opened[name] for name in spans.fragments]
        places = zip(arrays, spans.row_starts.tolist(), spans.n_windows.tolist(), strict=True)
        for array, start, n_windows in places:
            _check_inside(array.shape[0], start, n_windows)
        rows = windows + spans.row_starts[:, None]
        for array, drawn, bag in zip(arrays, rows, bags, strict=True):
            array.read_rows(drawn, bag)

    @contextmanager
    def _naming(self, span: Span) -> Iterator[None]:
        """Name the fragment and the song in an error."""
        try:
            yield
        except StoreError:
            raise
        except (ValueError, FileNotFoundError) as error:
            raise self._damage(str(error), span) from error
        except OSError as error:
            key = f"{self._storage.address}/{keys.fragment_key(span.fragment)}"
            raise StoreError(f"cannot be read ({error.strerror or error})", place=key) from error

    def _open_array(self, fragment: str) -> ShardedArray:
        if not keys.is_fragment(fragment):
            raise ValueError("is not the name of a fragment")
        try:
            metadata = self._storage.get(keys.metadata_key(fragment))
        except FileNotFoundError as error:
            raise ValueError("has no zarr.json") from error
        return ShardedArray(
            read_layout(metadata, self.spec),
            lambda number: self._shards.get(keys.shard_key(fragment, number), self._open_shard),
            name=fragment,
            memory=self._memory,
        )

    def _open_shard(self, key: str) -> Shard:
        path = self._storage.local_path(key)
        if path is not None:
            return self._file_shard(os.open(path, os.O_RDONLY))
        descriptor = self._open_cached(key) if self._open_cached else None
        return RemoteShard(self._storage.read_range, key) if descriptor is None else self._file_shard(descriptor)

    @cached_property
    def _n_threads(self) -> int:
        """One a core for a folder; for an object store as many as may wait for its answers."""
        return _REQUESTS_AT_ONCE if self._storage.local_path("") is None else len(os.sched_getaffinity(0))

    def _damage(self, what: str, span: Span) -> DamagedStore:
        return DamagedStore(
            what,
            key=keys.fragment_key(span.fragment),
            place=self._storage.address,
            song_ids=[span.song_id],
            remedy="Restore the fragment from a copy of the store, or extract the song again.",
        )


def _check_inside(n_rows: int, start: int, n_windows: int) -> None:
    if start < 0 or n_windows < 1 or start + n_windows > n_rows:
        raise ValueError(f"has {n_rows} windows, but the index points at {start} to {start + n_windows}")
