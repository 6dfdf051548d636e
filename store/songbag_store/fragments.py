"""Fragments: immutable Zarr v3 arrays of windows, written with zarr-python and read by threads of songbag's own."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec

from songbag_store.batch_memory import BatchMemory
from songbag_store.chunk_memory import ChunkMemory
from songbag_store.drawing import Ints
from songbag_store.encoding import StoredWindows
from songbag_store.errors import DamagedStore, StoreError, no_temporary_room
from songbag_store.kept_open import KeptOpen
from songbag_store.sharded_arrays import FileShard, RemoteShard, Shard, ShardedArray
from songbag_store.soundness import check_array_metadata
from songbag_store.spec import INT16_STEP, FeatureSpec
from songbag_store.storage import ObjectFacts, Storage, create_once

GROUP = "features.zarr"
SHARD_BYTES = 64 << 20
"""Raw size that a shard stays under; a writer holds about three times this in memory."""

_CHUNK_BYTES = 4 << 20
_OPEN_ARRAYS = 4096
_OPEN_SHARDS = 256
_REQUESTS_AT_ONCE = 32
_FRAGMENT = re.compile(r"[0-9a-f]{32}")


class WindowSpill:
    """Windows of one or more songs in an unnamed temporary file: how many there are is known only after decoding.

    Parameters
    ----------
    spec : FeatureSpec
        Decides shape and encoding of a window.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.n_windows = 0
        self.songs: list[int] = []
        self._spec = spec
        self._file = tempfile.TemporaryFile(prefix="songbag-")  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def append(self, windows: StoredWindows) -> None:
        """Add windows, shape (N, C, T), to the song being written."""
        try:
            self._file.write(np.ascontiguousarray(windows).data)
        except OSError as error:
            raise no_temporary_room("the windows of a batch", error) from error
        self.n_windows += len(windows)

    def end_song(self) -> None:
        """Note that the windows since the last song are a whole one."""
        self.songs.append(self.n_windows - sum(self.songs))

    def drop_song(self) -> None:
        """Forget the windows of a song that failed halfway."""
        self.n_windows = sum(self.songs)
        self._file.seek(self.n_windows * self._spec.window_bytes)
        self._file.truncate()

    def windows(self) -> StoredWindows:
        """Return all windows, shape (N, C, T), mapped from the file and not in memory."""
        shape = (self.n_windows, *self._spec.window_shape)
        if self.n_windows == 0:
            return np.empty(shape, self._spec.encoding)
        self._file.flush()
        return np.memmap(self._file, dtype=self._spec.encoding, mode="r", shape=shape)


def write_fragment(storage: Storage, fragment: str, spec: FeatureSpec, spill: WindowSpill) -> dict[str, ObjectFacts]:
    """Write the windows of a batch of songs as one array and force it to disk.

    Parameters
    ----------
    storage : Storage
        Where the array goes.
    fragment : str
        Its name, 32 hexadecimal digits, new for every attempt.
    spec : FeatureSpec
        What the windows are.
    spill : WindowSpill
        The windows; at least one.

    Returns
    -------
    objects : dict
        Size and SHA-256 of every object written, by key.

    Raises
    ------
    StoreError
        If the disk is full or cannot be written.
    """
    key = f"{GROUP}/{fragment}"
    windows = spill.windows()
    try:
        written = storage.new_array(key)
        array = _create_array(written.target, fragment, spec, windows.shape, _chunk_and_shard(spec, spill))
        step = array.shards[0] if array.shards else array.chunks[0]
        for start in range(0, len(windows), step):
            array[start : start + step] = windows[start : start + step]
        return written.finish()
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the features could not be written ({error.strerror or error})",
            where=f"{storage.location}/{key}",
            remedy="Nothing that was committed is touched; make room or give access, and run the same again.",
        ) from error


def _chunk_and_shard(spec: FeatureSpec, spill: WindowSpill) -> tuple[int, int]:
    """Choose lengths in windows: a chunk is a typical song, a shard as many chunks as stay under `SHARD_BYTES`.

    Of songs of many hours a chunk is a part, for it is unpacked as a whole for any window in it.
    """
    per_shard = max(1, SHARD_BYTES // spec.window_bytes)
    chunk = min(max(1, int(np.median(spill.songs))), max(1, _CHUNK_BYTES // spec.window_bytes))
    return chunk, chunk * max(1, min(per_shard // chunk, math.ceil(spill.n_windows / chunk)))


def _create_array(
    target: Path | Store, fragment: str, spec: FeatureSpec, shape: tuple[int, ...], lengths: tuple[int, int]
) -> zarr.Array[Any]:
    chunk, shard = lengths
    attributes: dict[str, Any] = {"fingerprint": spec.fingerprint}
    if spec.encoding == "int16":
        attributes |= {"scale_factor": INT16_STEP, "add_offset": 0.0}
    # An all-zero chunk left out on purpose could not be told from a lost one.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.create_array(
            target,
            shape=shape,
            dtype=spec.encoding,
            chunks=(chunk, *shape[1:]),
            shards=(shard, *shape[1:]),
            compressors=[BloscCodec(cname="lz4", shuffle="bitshuffle", clevel=5), Crc32cCodec()],
            fill_value=0,
            zarr_format=3,
            # xarray opens the group as one dataset, where a dimension has one length: rows are each fragment's own.
            dimension_names=(f"window_{fragment}", "coefficient", "frame"),
            attributes=attributes,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Where windows of one song lie: `n_windows` rows of a fragment from `row_start` on."""

    song_id: str
    fragment: str
    row_start: int
    n_windows: int


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


class _PendingBags:
    """Bags that several jobs fill."""

    def __init__(self, bags: StoredWindows, jobs: Sequence[Future[None]]) -> None:
        self._bags = bags
        self._jobs = jobs

    def result(self) -> StoredWindows:
        for job in self._jobs:
            job.result()
        return self._bags


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
    """

    def __init__(
        self,
        storage: Storage,
        spec: FeatureSpec,
        open_cached: Callable[[str], int | None] | None = None,
        memory: ChunkMemory | None = None,
    ) -> None:
        self.spec = spec
        self._open_cached = open_cached
        self._memory = memory
        self._storage = storage
        self._batches = BatchMemory()
        self._arrays: KeptOpen[ShardedArray] = KeptOpen(_OPEN_ARRAYS)
        self._shards: KeptOpen[Shard] = KeptOpen(_OPEN_SHARDS)

    def read(self, span: Span) -> Pending:
        """Start to read the windows of a song, shape (N, C, T)."""
        return self._threads.submit(self._read_span, span)

    def read_all(self, spans: Sequence[Span]) -> list[StoredWindows]:
        """Read several songs at once."""
        return [one.result() for one in [self.read(span) for span in spans]]

    def read_bags(self, spans: Sequence[Span], windows: Ints) -> Pending:
        """Start to read some windows of each of several songs, shape (B, K, C, T).

        Parameters
        ----------
        spans : sequence of Span
            The songs.
        windows : int64, shape (B, K)
            Which windows of each song, counted from the start of its span.

        Raises
        ------
        IndexError
            If a window lies outside its span.
        """
        if (windows.min(axis=1) < 0).any() or (windows.max(axis=1) >= [span.n_windows for span in spans]).any():
            raise IndexError("a window lies outside its song")
        memory = self._batches.take(windows.size * self.spec.window_bytes)
        out = memory.view(self.spec.encoding).reshape(*windows.shape, *self.spec.window_shape)
        # Of a folder a job is many songs, because handing it over costs as much as reading one.
        per_job = math.ceil(len(spans) / self._n_threads)
        cuts = [slice(first, first + per_job) for first in range(0, len(spans), per_job)]
        jobs = [self._threads.submit(self._read_bags, spans[cut], windows[cut], out[cut]) for cut in cuts]
        return _PendingBags(out, jobs)

    def _read_span(self, span: Span) -> StoredWindows:
        with self._naming(span):
            array = self._array(span)
            windows = np.empty((span.n_windows, *array.shape[1:]), array.dtype_name)
            array.read_span(span.row_start, windows)
        return windows

    def _read_bags(self, spans: Sequence[Span], windows: Ints, out: StoredWindows) -> None:
        rows = windows + np.array([[span.row_start] for span in spans])
        for span, drawn, bag in zip(spans, rows, out, strict=True):
            try:
                self._array(span).read_rows(drawn, bag)
            except Exception:
                with self._naming(span):
                    raise

    @contextmanager
    def _naming(self, span: Span) -> Iterator[None]:
        """Name the fragment and the song in what goes wrong with them."""
        try:
            yield
        except StoreError:
            raise
        except (ValueError, FileNotFoundError) as error:
            raise self._damage(str(error), span) from error
        except OSError as error:
            key = f"{self._storage.location}/{GROUP}/{span.fragment}"
            raise StoreError(f"cannot be read ({error.strerror or error})", where=key) from error

    def _array(self, span: Span) -> ShardedArray:
        """Return the array of a span that lies in it."""
        array = self._arrays.get(span.fragment, self._open_array)
        stop = span.row_start + span.n_windows
        if span.row_start < 0 or span.n_windows < 1 or stop > array.shape[0]:
            raise ValueError(f"has {array.shape[0]} windows, but the index points at {span.row_start} to {stop}")
        return array

    def _open_array(self, fragment: str) -> ShardedArray:
        if not _FRAGMENT.fullmatch(fragment):
            raise ValueError("is not the name of a fragment")
        key = f"{GROUP}/{fragment}"
        try:
            metadata = self._storage.get(f"{key}/zarr.json")
        except FileNotFoundError as error:
            raise ValueError("has no zarr.json") from error
        check_array_metadata(metadata, self.spec)
        array = ShardedArray(
            metadata,
            lambda number: self._shards.get(f"{key}/c/{number}/0/0", self._open_shard),
            name=fragment,
            memory=self._memory,
        )
        if array.shape[1:] != self.spec.window_shape or array.dtype_name != self.spec.encoding:
            found = f"{array.dtype_name} {array.shape[1:]}"
            raise ValueError(f"has windows of {found} instead of the spec's {self.spec.window_shape}")
        return array

    def _open_shard(self, key: str) -> Shard:
        path = self._storage.local_path(key)
        if path is not None:
            return FileShard(os.open(path, os.O_RDONLY))
        descriptor = self._open_cached(key) if self._open_cached else None
        return RemoteShard(self._storage.read_range, key) if descriptor is None else FileShard(descriptor)

    @cached_property
    def _n_threads(self) -> int:
        """As many as there are cores for a folder; for an object store as many as may wait for its answers."""
        return _REQUESTS_AT_ONCE if self._storage.local_path("") is None else len(os.sched_getaffinity(0))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Threads that end with the reader."""
        return ThreadPoolExecutor(self._n_threads, thread_name_prefix="songbag-read")

    def _damage(self, what: str, span: Span) -> DamagedStore:
        return DamagedStore(
            what,
            key=f"{GROUP}/{span.fragment}",
            where=self._storage.location,
            song_ids=[span.song_id],
            remedy="Restore the fragment from a copy of the store, or extract the song again.",
        )


def create_group(storage: Storage) -> None:
    """Create the Zarr group above the arrays."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    create_once(storage, f"{GROUP}/zarr.json", json.dumps(document, indent=2).encode())
