"""A fragment's ``zarr.json``: what songbag writes is read, anything else is refused before it is acted on."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from songbag_store.format.document import parse_document, reason
from songbag_store.format.spec import FeatureSpec

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
_FOREIGN = "its zarr.json is not that of an array of songbag"


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How the windows of a fragment lie in its shards.

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
        """Chunks of a shard."""
        return self.shard // self.chunk

    @property
    def index_bytes(self) -> int:
        """Size of a shard's list of chunks, its checksum included."""
        return 16 * self.chunks_per_shard + 4

    @property
    def chunk_shape(self) -> tuple[int, int, int]:
        """(rows, C, T) of a chunk."""
        return self.chunk, self.shape[1], self.shape[2]

    @property
    def chunk_bytes(self) -> int:
        """Size of an unpacked chunk."""
        return math.prod(self.chunk_shape) * np.dtype(self.dtype).itemsize


def read_layout(text: bytes, spec: FeatureSpec) -> ArrayLayout:
    """Read an array's ``zarr.json``.

    Codecs, chunk grid and fields are compared with an allow-list, and a shard's size has a bound: whoever made the
    metadata can neither have another codec run nor a read take any amount of memory.

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
    fixed = (metadata["zarr_format"], metadata["node_type"], metadata["chunk_grid"]["name"])
    if (
        fixed != (3, "array", "regular")
        or metadata["chunk_key_encoding"]["name"] != "default"
        or inner["index_location"] != "end"
        or len(shape) != 3
        or not shape[1:] == shard[1:] == chunk[1:]
        or shard[0] % chunk[0]
        or shard[0] // chunk[0] >= _MOST_CHUNKS
    ):
        raise ValueError(_FOREIGN)
    dtype = metadata["data_type"]
    if shape[1:] != spec.window_shape or dtype != spec.encoding:
        raise ValueError(f"has windows of {dtype} {shape[1:]} instead of the spec's {spec.window_shape}")
    return ArrayLayout((shape[0], shape[1], shape[2]), dtype, shard[0], chunk[0])


def _length(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{_FOREIGN}: {str(value)[:100]!r} is not a length")
    return value
