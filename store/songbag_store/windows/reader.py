"""`FragmentReader`: read windows of a store with threads, or with processes if bags are waited for.

docs/decisions/0031 says why there are processes.
"""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from songbag_store.errors import DamagedStore, StoreError
from songbag_store.format import keys
from songbag_store.format.array import read_layout
from songbag_store.format.spec import FeatureSpec
from songbag_store.machine import n_cores
from songbag_store.storage.storage import Storage
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.memory import BatchMemory, ChunkMemory, KeptOpen
from songbag_store.windows.process import ProcessRule, ReadingProcess, WaitingShare
from songbag_store.windows.shards import FileShard, RemoteShard, Shard, ShardedArray
from songbag_store.windows.spans import Span, Spans
from songbag_store.words import counted

_REQUESTS_AT_ONCE = 32

Wait: TypeAlias = Callable[[], object]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PendingBags:
    """Bags that several jobs fill. `note` gets their bytes and how long they were waited for."""

    bags: StoredWindows
    jobs: Sequence[Wait]
    note: Callable[[int, float], None]

    def result(self) -> StoredWindows:
        """Wait for the windows, as stored, and return them.

        Raises
        ------
        DamagedStore
            If a fragment or a shard is missing, cut off or changed, or is not what the index says.
        """
        began_s = time.monotonic()
        for wait in self.jobs:
            wait()
        self.note(self.bags.nbytes, time.monotonic() - began_s)
        return self.bags


Pending: TypeAlias = Future[StoredWindows] | PendingBags
"""Windows that are being read."""


@dataclasses.dataclass(eq=False)
class FragmentReader:
    """Reads windows, many at once. Safe for threads.

    A shard that is missing, cut off or changed is an error; it is never read as zeros.
    """

    storage: Storage
    """The store's."""
    spec: FeatureSpec
    """The store's."""
    open_cached: Callable[[str], int | None] | None = None
    """Takes the key of a remote shard; returns a file descriptor if the shard is kept on this machine, else None."""
    memory: ChunkMemory | None = None
    """Keeps chunks that were read."""
    file_shard: type[FileShard] = FileShard
    """Reads shards that are files."""
    rule: ProcessRule = dataclasses.field(default_factory=ProcessRule)
    """Says when processes help."""
    open_arrays: int = 4096
    """How many arrays stay open."""
    open_shards: int = 256
    """How many shards stay open."""

    def __post_init__(self) -> None:
        self._folder = self.storage.local_path("")
        # Requests to an object store mostly wait for answers, so they may be more than the cores.
        self._n_threads = _REQUESTS_AT_ONCE if self._folder is None else n_cores()
        self._arrays: KeptOpen[ShardedArray] = KeptOpen(self.open_arrays)
        self._shards: KeptOpen[Shard] = KeptOpen(self.open_shards)
        self._begin_here()

    def _begin_here(self) -> None:
        """Make what belongs to one process: a fork shares its parent's memory of batches, and has no threads."""
        self._process = os.getpid()
        self._batches = BatchMemory()
        self._processes: list[ReadingProcess] = []
        self._waiting = WaitingShare(self.rule)
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
            # Other batches keep the other processes busy, and to hand over a job takes as long as to read two songs.
            n_jobs = min(len(processes), math.ceil(memory.nbytes / self.rule.job_bytes))
        per_job = math.ceil(len(spans) / n_jobs)
        jobs = []
        for first in range(0, len(spans), per_job):
            cut = slice(first, first + per_job)
            # The first one if it has nothing to do: if two take turns, the CPU caches of both are cold.
            process = min(processes, key=ReadingProcess.n_waiting, default=None)
            jobs.append(self._begin(process, spans[cut], windows[cut], bags[cut]))
        return PendingBags(bags, jobs, self._note_waiting)

    def _begin(self, process: ReadingProcess | None, spans: Spans, windows: Ints, bags: StoredWindows) -> Wait:
        """Let a process fill bags if it takes the job, else a thread; return a function that waits for it."""
        if process is not None:
            job = process.begin(self._batches.place(bags.view(np.uint8)), spans, windows, bags)
            if job is not None:
                # What a process cannot read is read again here: this works, or the error names the song.
                return lambda: None if process.wait(job) else self.fill_bags(spans, windows, bags)
        return self._threads.submit(self.fill_bags, spans, windows, bags).result

    def _ready_processes(self) -> list[ReadingProcess]:
        """Return the processes that read, if all are ready."""
        if any(one.is_gone for one in self._processes):
            # If other work takes all cores, new ones would be given up too. So they start later.
            self.rule = dataclasses.replace(self.rule, after_bytes=8 * self.rule.after_bytes)
            self._processes, self._waiting = [], WaitingShare(self.rule)
        return self._processes if all(one.is_ready() for one in self._processes) else []

    def _note_waiting(self, n_bytes: int, waited_s: float) -> None:
        """Start processes if bags are waited for."""
        is_large, rule = self._waiting.is_large(n_bytes, waited_s, time.monotonic()), self.rule
        if not is_large or self._processes or self._folder is None or rule.n_processes < 2:
            return
        # A worker of a pool must not have children, and other processes do not see the memory of chunks.
        if multiprocessing.current_process().daemon or self.memory is not None:
            return
        given = self._folder, self.spec, self._batches.file, rule.patience_s
        self._processes = [ReadingProcess(*given) for _ in range(rule.n_processes)]

    def _read_span(self, span: Span) -> StoredWindows:
        with self._naming(span):
            array = self._arrays.get(span.fragment, self._open_array)
            _check_inside(array.n_rows, span.row_start, span.n_windows)
            windows = np.empty((span.n_windows, *self.spec.window_shape), self.spec.encoding)
            array.read_rows(np.arange(span.row_start, span.row_start + span.n_windows), windows)
        return windows

    def fill_bags(self, spans: Spans, windows: Ints, bags: StoredWindows) -> None:
        """Read some windows of each of several songs into `bags`, in this thread; see `read_bags`."""
        try:
            self._fill(spans, windows, bags)
        except Exception:
            # Again song by song, so that the error names its song.
            for number, span in enumerate(spans):
                one = slice(number, number + 1)
                with self._naming(span):
                    self._fill(spans[one], windows[one], bags[one])

    def _fill(self, spans: Spans, windows: Ints, bags: StoredWindows) -> None:
        opened = {name: self._arrays.get(name, self._open_array) for name in set(spans.fragments)}
        arrays = [opened[name] for name in spans.fragments]
        for array, start, n_windows in zip(arrays, spans.row_starts.tolist(), spans.n_windows.tolist(), strict=True):
            _check_inside(array.n_rows, start, n_windows)
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
            remedy = "Restore the fragment from a copy of the store, or extract the song again."
            key, place, ids = keys.fragment_key(span.fragment), self.storage.address, [span.song_id]
            raise DamagedStore(str(error), key=key, place=place, song_ids=ids, remedy=remedy) from error
        except OSError as error:
            place = f"{self.storage.address}/{keys.fragment_key(span.fragment)}"
            raise StoreError(f"cannot be read ({error.strerror or error})", place=place) from error

    def _open_array(self, fragment: str) -> ShardedArray:
        if not keys.is_fragment(fragment):
            raise ValueError("is not the name of a fragment")
        try:
            metadata = self.storage.get(keys.metadata_key(fragment))
        except FileNotFoundError as error:
            raise ValueError("has no zarr.json") from error

        def open_shard(number: int) -> Shard:
            return self._shards.get(keys.shard_key(fragment, number), self._open_shard)

        return ShardedArray(read_layout(metadata, self.spec), open_shard, fragment, self.memory)

    def _open_shard(self, key: str) -> Shard:
        path = self.storage.local_path(key)
        if path is not None:
            return self.file_shard(os.open(path, os.O_RDONLY))
        descriptor = self.open_cached(key) if self.open_cached else None
        return RemoteShard(self.storage.read_range, key) if descriptor is None else self.file_shard(descriptor)


def _check_inside(n_rows: int, start: int, n_windows: int) -> None:
    if start < 0 or n_windows < 1 or start + n_windows > n_rows:
        raise ValueError(f"has {counted(n_rows, 'window')}, but the index points at {start} to {start + n_windows}")
