"""Fragments: immutable Zarr v3 arrays of windows, written with zarr-python.

Local ones are read with tensorstore, those in object stores by byte ranges through the storage itself.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import tensorstore
import zarr
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, Crc32cCodec

from songbag_store.encoding import StoredWindows
from songbag_store.errors import DamagedStore, StoreError, no_temporary_room
from songbag_store.range_arrays import RangeArray
from songbag_store.soundness import check_array_metadata
from songbag_store.spec import INT16_STEP, FeatureSpec
from songbag_store.storage import ObjectFacts, Storage, create_once

GROUP = "features.zarr"
SHARD_BYTES = 64 << 20
"""Raw size that a shard stays under; a writer holds about three times this in memory."""

_OPEN_ARRAYS = 256
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
    """Choose lengths in windows: a chunk is a typical song, a shard as many chunks as stay under `SHARD_BYTES`."""
    per_shard = max(1, SHARD_BYTES // spec.window_bytes)
    chunk = min(max(1, int(np.median(spill.songs))), per_shard)
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


class Pending(Protocol):
    """Windows that are being read; `result` waits for them."""

    def result(self) -> StoredWindows:
        """Return the windows, shape (N, C, T)."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Where windows of one song lie: `n_windows` rows of a fragment from `row_start` on."""

    song_id: str
    fragment: str
    row_start: int
    n_windows: int


class _Array(Protocol):
    """An open fragment."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype_name(self) -> str: ...

    def begin(self, start: int, stop: int) -> Pending: ...


class _Local:
    """A fragment on this machine, read by tensorstore's own threads."""

    def __init__(self, folder: Path, context: tensorstore.Context) -> None:
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "open": True,
            "fill_missing_data_reads": False,
            "recheck_cached_metadata": "open",
        }
        self._array = tensorstore.open(spec, context=context).result()
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype_name: str = self._array.dtype.name

    def begin(self, start: int, stop: int) -> Pending:
        pending: Pending = self._array[start:stop].read()
        return pending


class _Remote:
    """A fragment in an object store, read by threads that wait for its answers."""

    def __init__(self, array: RangeArray, threads: ThreadPoolExecutor) -> None:
        self._array = array
        self._threads = threads
        self.shape: tuple[int, ...] = array.shape
        self.dtype_name = array.dtype_name

    def begin(self, start: int, stop: int) -> Pending:
        return self._threads.submit(self._array.read, start, stop)


class FragmentReader:
    """Reads spans of windows; many reads may be under way at once.

    A missing, cut-off or changed shard is an error, never zeros.

    Parameters
    ----------
    storage : Storage
        Where the arrays lie.
    spec : FeatureSpec
        What their windows must look like; kept as an attribute.
    """

    def __init__(self, storage: Storage, spec: FeatureSpec) -> None:
        self._storage = storage
        self.spec = spec
        self._arrays: OrderedDict[str, _Array] = OrderedDict()
        self._context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})

    def read(self, span: Span) -> Pending:
        """Start to read the windows of a span, as stored.

        Raises
        ------
        DamagedStore
            If the fragment is not there or has another shape than the index says. Damage to the windows themselves is
            raised by the result, see `collect`.
        """
        array = self._array(span)
        stop = span.row_start + span.n_windows
        if span.row_start < 0 or span.n_windows < 1 or stop > array.shape[0]:
            what = f"has {array.shape[0]} windows, but the index points at {span.row_start} to {stop}"
            raise self._damage(what, span)
        return array.begin(span.row_start, stop)

    def collect(self, span: Span, pending: Pending) -> StoredWindows:
        """Wait for the windows of a span, shape (N, C, T).

        Raises
        ------
        DamagedStore
            If a shard is missing, cut off or changed.
        """
        try:
            return np.asarray(pending.result())
        except (ValueError, FileNotFoundError) as error:
            raise self._damage(_cause(error), span) from error

    def read_all(self, spans: Sequence[Span]) -> list[StoredWindows]:
        """Read several spans at once."""
        pending = [self.read(span) for span in spans]
        return [self.collect(span, one) for span, one in zip(spans, pending, strict=True)]

    def _array(self, span: Span) -> _Array:
        name = span.fragment
        if name in self._arrays:
            self._arrays.move_to_end(name)
            return self._arrays[name]
        if not _FRAGMENT.fullmatch(name):
            raise self._damage("is not the name of a fragment", span)
        array = self._open(span)
        expected = self.spec.window_shape
        if tuple(array.shape[1:]) != expected or array.dtype_name != self.spec.encoding:
            what = f"has windows of {array.dtype_name} {tuple(array.shape[1:])} instead of the spec's {expected}"
            raise self._damage(what, span)
        self._arrays[name] = array
        if len(self._arrays) > _OPEN_ARRAYS:
            self._arrays.popitem(last=False)
        return array

    def _open(self, span: Span) -> _Array:
        key = f"{GROUP}/{span.fragment}"
        folder = self._storage.array_path(key)
        try:
            metadata = self._storage.get(f"{key}/zarr.json")
            check_array_metadata(metadata, self.spec)
            if folder is None:
                return _Remote(RangeArray(self._storage, key, metadata), self._threads)
            return _Local(folder, self._context)
        except StoreError:
            raise
        except (ValueError, OSError) as error:
            raise self._damage(_cause(error), span) from error

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Threads that wait for an object store; they end with the reader."""
        return ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="songbag-read")

    def _damage(self, what: str, span: Span) -> DamagedStore:
        return DamagedStore(
            what,
            key=f"{GROUP}/{span.fragment}",
            where=self._storage.location,
            song_ids=[span.song_id],
            remedy="Restore the fragment from a copy of the store, or extract the song again.",
        )


def _cause(error: Exception) -> str:
    """Return the first line of tensorstore's message without its list of source locations."""
    return re.sub(r" \[source locations=.*", "", str(error).splitlines()[0])[:300]


def create_group(storage: Storage) -> None:
    """Create the Zarr group above the arrays."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    create_once(storage, f"{GROUP}/zarr.json", json.dumps(document, indent=2).encode())
