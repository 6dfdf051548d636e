"""The array of a fragment: the layout that its ``zarr.json`` declares, and the encoding of windows."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from songbag_store.format.document import parse_document, reason
from songbag_store.format.spec import FeatureSpec
from songbag_store.types import FloatWindows, StoredWindows

GROUP_DOCUMENT = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}, indent=2).encode()
"""Metadata of the Zarr group above the arrays."""

_CODECS = ["bytes", "blosc", "crc32c"]
_INDEX_CODECS = ["bytes", "crc32c"]
_DTYPES = ("int16", "float32")
_FIELDS = frozenset(
    {"shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "attributes"}
    | {"dimension_names", "zarr_format", "node_type", "storage_transformers"}
)
_LARGEST_METADATA_BYTES = 1 << 20
_LARGEST_SHARD_BYTES = 1 << 30
_MOST_CHUNKS = 1 << 24
_MOST_STEPS = np.iinfo(np.int16).max
_FOREIGN = "its zarr.json is not that of an array of songbag"


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayLayout:
    """The order of the windows of a fragment in its shards.

    Attributes
    ----------
    shape : tuple of int
        (rows, C, T).
    dtype : str
        ``int16`` or ``float32``.
    shard, chunk : int
        Rows of a shard and of a chunk.
    """

    shape: tuple[int, int, int]
    dtype: str
    shard: int
    chunk: int

    @property
    def chunks_per_shard(self) -> int:
        """Number of chunks of a shard."""
        return self.shard // self.chunk

    @property
    def index_bytes(self) -> int:
        """Size of a shard's list of chunks with its checksum."""
        return 16 * self.chunks_per_shard + 4

    @property
    def chunk_bytes(self) -> int:
        """Size of an unpacked chunk."""
        return self.chunk * math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize


def read_layout(text: bytes, spec: FeatureSpec) -> ArrayLayout:
    """Read the ``zarr.json`` of an array.

    Only the fields, codecs and sizes that songbag writes are accepted. So a hand-made file cannot run another codec, or
    make a read use any amount of memory.

    Raises
    ------
    ValueError
        If it is not that of an array of songbag with windows of this spec; with the reason.
    """
    if len(text) > _LARGEST_METADATA_BYTES:
        raise ValueError(f"its metadata take {len(text):,} bytes")
    try:
        metadata = parse_document(text)
    except ValueError as error:
        raise ValueError(f"{_FOREIGN} ({reason(error)})") from error
    try:
        if unknown := sorted(set(metadata) - _FIELDS):
            raise ValueError(f"its metadata have fields that songbag does not know: {', '.join(unknown)[:100]}")
        (sharding,) = metadata["codecs"]
        inner = sharding["configuration"]
        names = [[codec["name"] for codec in inner[part]] for part in ("codecs", "index_codecs")]
        if sharding["name"] != "sharding_indexed" or names != [_CODECS, _INDEX_CODECS]:
            raise ValueError(f"it uses codecs that songbag does not write: {names}"[:200])
        if metadata["data_type"] not in _DTYPES or metadata.get("storage_transformers"):
            raise ValueError(f"it holds {str(metadata['data_type'])[:100]!r} instead of int16 or float32")
        return _layout(metadata, inner, spec)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{_FOREIGN} ({type(error).__name__})") from error


def _layout(metadata: dict[str, Any], inner: dict[str, Any], spec: FeatureSpec) -> ArrayLayout:
    shape, shard, chunk = (
        tuple(map(_length, lengths))
        for lengths in (metadata["shape"], metadata["chunk_grid"]["configuration"]["chunk_shape"], inner["chunk_shape"])
    )
    if 4 * math.prod(shard) > max(_LARGEST_SHARD_BYTES, 4 * spec.window_bytes):
        raise ValueError(f"its shards of {list(shard)} windows are larger than songbag's"[:200])
    named = [metadata[part]["name"] for part in ("chunk_grid", "chunk_key_encoding")]
    fixed = [metadata["zarr_format"], metadata["node_type"], inner["index_location"], *named]
    is_even = len(shape) == 3 and shape[1:] == shard[1:] == chunk[1:] and shard[0] % chunk[0] == 0
    if fixed != [3, "array", "end", "regular", "default"] or not is_even or shard[0] // chunk[0] >= _MOST_CHUNKS:
        raise ValueError(_FOREIGN)
    dtype = metadata["data_type"]
    if shape[1:] != spec.window_shape or dtype != spec.encoding:
        raise ValueError(f"has windows of {dtype} {shape[1:]} instead of the spec's {spec.window_shape}")
    return ArrayLayout((shape[0], shape[1], shape[2]), dtype, shard[0], chunk[0])


def _length(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{_FOREIGN}: {str(value)[:100]!r} is not a length")
    return value


class UnencodableFeatures(ValueError):
    """Windows with values that are not finite, or too large for the int16 encoding."""


def encode(windows: FloatWindows, spec: FeatureSpec) -> StoredWindows:
    """Return windows as they are stored: float32 unchanged, or int16 in steps (error at most half of one).

    Raises
    ------
    UnencodableFeatures
        If a value is not finite, or beyond 32,767 steps with the int16 encoding.
    """
    if not np.isfinite(windows).all():
        raise UnencodableFeatures("the features are not finite")
    if spec.encoding == "float32":
        return windows
    with np.errstate(over="ignore"):
        steps = np.rint(windows * np.float32(1 / spec.step))
    if steps.size and not np.abs(steps).max() <= _MOST_STEPS:
        reached, most = np.abs(windows).max(), _MOST_STEPS * spec.step
        raise UnencodableFeatures(f"the features reach {reached:.6g}, beyond the int16 encoding's {most:.6g}")
    stored: StoredWindows = steps.astype(np.int16)
    return stored


def decode(stored: StoredWindows, spec: FeatureSpec) -> FloatWindows:
    """Return stored windows as float32; exact for float32, and for steps that are powers of two."""
    if stored.dtype == np.float32:
        return stored.astype(np.float32, copy=False)
    return stored.astype(np.float32) * np.float32(spec.step)
