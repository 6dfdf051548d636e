"""Fragments: immutable Zarr v3 arrays of windows, written with zarr-python and read with tensorstore."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import tensorstore
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from songbag_store.errors import DamagedStore, StoreError
from songbag_store.soundness import check_array_metadata
from songbag_store.spec import INT16_STEP, FeatureSpec
from songbag_store.storage import Storage

StoredWindows = npt.NDArray[Any]
"""int16 or float32, as the spec's encoding says."""
FloatWindows = npt.NDArray[np.float32]

GROUP = "features.zarr"
SHARD_BYTES = 64 << 20
"""Raw size that a shard stays under; a writer holds about three times this in memory."""

_OPEN_ARRAYS = 256
_FRAGMENT = re.compile(r"[0-9a-f]{32}")


class UnencodableFeatures(ValueError):
    """Windows that are not finite, or beyond the range of the int16 encoding."""


def encode(windows: FloatWindows, spec: FeatureSpec) -> StoredWindows:
    """Return windows as they are stored: float32 unchanged, or int16 in steps of 1/16 (error at most 1/32).

    Raises
    ------
    UnencodableFeatures
        If a value is not finite, or beyond +-2047.9 with the int16 encoding.
    """
    if not np.isfinite(windows).all():
        raise UnencodableFeatures("the features are not finite")
    if spec.encoding == "float32":
        return windows
    steps = np.rint(windows * np.float32(1 / INT16_STEP))
    if steps.size and np.abs(steps).max() > np.iinfo(np.int16).max:
        raise UnencodableFeatures(f"the features reach {np.abs(windows).max():.0f}, beyond the int16 encoding's 2047")
    stored: StoredWindows = steps.astype(np.int16)
    return stored


def decode(stored: StoredWindows) -> FloatWindows:
    """Return stored windows as float32; exact for both encodings."""
    if stored.dtype == np.float32:
        return stored.astype(np.float32, copy=False)
    return stored.astype(np.float32) * np.float32(INT16_STEP)


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
            raise StoreError(
                f"the windows of a batch could not be kept ({error.strerror or error})",
                where=tempfile.gettempdir(),
                remedy="Make room there, or set TMPDIR to a larger disk, and run the same again.",
            ) from error
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


def write_fragment(storage: Storage, fragment: str, spec: FeatureSpec, spill: WindowSpill) -> dict[str, dict[str, Any]]:
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
        array = _create_array(storage, fragment, spec, windows.shape, _chunk_and_shard(spec, spill))
        step = array.shards[0] if array.shards else array.chunks[0]
        for start in range(0, len(windows), step):
            array[start : start + step] = windows[start : start + step]
        written = storage.make_durable(key)
    except OSError as error:
        raise StoreError(
            f"the features could not be written ({error.strerror or error})",
            where=f"{storage.location}/{key}",
            remedy="Nothing that was committed is touched; make room or give access, and run the same again.",
        ) from error
    return {o.key: {"bytes": o.n_bytes, "sha256": _digest(storage.array_path(o.key))} for o in written}


def _chunk_and_shard(spec: FeatureSpec, spill: WindowSpill) -> tuple[int, int]:
    """Choose lengths in windows: a chunk is a typical song, a shard as many chunks as stay under `SHARD_BYTES`."""
    per_shard = max(1, SHARD_BYTES // spec.window_bytes)
    chunk = min(max(1, int(np.median(spill.songs))), per_shard)
    return chunk, chunk * max(1, min(per_shard // chunk, math.ceil(spill.n_windows / chunk)))


def _create_array(
    storage: Storage, fragment: str, spec: FeatureSpec, shape: tuple[int, ...], lengths: tuple[int, int]
) -> zarr.Array[Any]:
    chunk, shard = lengths
    attributes: dict[str, Any] = {"fingerprint": spec.fingerprint}
    if spec.encoding == "int16":
        attributes |= {"scale_factor": INT16_STEP, "add_offset": 0.0}
    # An all-zero chunk left out on purpose could not be told from a lost one.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.create_array(
            storage.array_path(f"{GROUP}/{fragment}"),
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


def _digest(path: os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


class FragmentReader:
    """Reads spans of windows; many reads may be under way at once.

    A missing, cut-off or changed shard is an error, never zeros.

    Parameters
    ----------
    storage : Storage
        Where the arrays lie.
    spec : FeatureSpec
        What their windows must look like.
    """

    def __init__(self, storage: Storage, spec: FeatureSpec) -> None:
        self._storage = storage
        self._spec = spec
        self._arrays: OrderedDict[str, tensorstore.TensorStore] = OrderedDict()
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
        pending: Pending = array[span.row_start : stop].read()
        return pending

    def collect(self, span: Span, pending: Pending) -> StoredWindows:
        """Wait for the windows of a span, shape (N, C, T).

        Raises
        ------
        DamagedStore
            If a shard is missing, cut off or changed.
        """
        try:
            return np.asarray(pending.result())
        except ValueError as error:
            raise self._damage(_cause(error), span) from error

    def read_all(self, spans: Sequence[Span]) -> list[StoredWindows]:
        """Read several spans at once."""
        pending = [self.read(span) for span in spans]
        return [self.collect(span, one) for span, one in zip(spans, pending, strict=True)]

    def _array(self, span: Span) -> tensorstore.TensorStore:
        name = span.fragment
        if name in self._arrays:
            self._arrays.move_to_end(name)
            return self._arrays[name]
        if not _FRAGMENT.fullmatch(name):
            raise self._damage("is not the name of a fragment", span)
        try:
            check_array_metadata(self._storage.get(f"{GROUP}/{name}/zarr.json"), self._spec)
            array = tensorstore.open(self._tensorstore_spec(name), context=self._context).result()
        except (ValueError, OSError) as error:
            raise self._damage(_cause(error), span) from error
        expected = self._spec.window_shape
        if array.rank != 3 or tuple(array.shape[1:]) != expected or array.dtype.name != self._spec.encoding:
            what = f"has windows of {array.dtype.name} {tuple(array.shape[1:])} instead of the spec's {expected}"
            raise self._damage(what, span)
        self._arrays[name] = array
        if len(self._arrays) > _OPEN_ARRAYS:
            self._arrays.popitem(last=False)
        return array

    def _tensorstore_spec(self, fragment: str) -> dict[str, Any]:
        folder = self._storage.array_path(f"{GROUP}/{fragment}")
        return {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "open": True,
            "fill_missing_data_reads": False,
            "recheck_cached_metadata": "open",
        }

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
    storage.create(f"{GROUP}/zarr.json", json.dumps(document, indent=2).encode())
