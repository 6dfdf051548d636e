"""The keys of all objects of a store; no other module spells one."""

from __future__ import annotations

import re
import uuid

IDENTITY = "store.json"
ARRAYS = "features.zarr"
GROUP_METADATA = f"{ARRAYS}/zarr.json"
PARTS = "parts"
INDEX = "index"
TAGS = "tags"

_FRAGMENT = re.compile(r"[0-9a-f]{32}")
_SHARD = re.compile(rf"{ARRAYS}/[^/]+/c/([0-9]+)/0/0")
_PART = re.compile(rf"{PARTS}/([0-9a-f]{{32}})\.parquet")
_SNAPSHOT = re.compile(rf"{INDEX}/([0-9]{{20}})\.parquet")
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def is_fragment(name: str) -> bool:
    """Return whether this is a fragment's name: 32 hexadecimal digits."""
    return _FRAGMENT.fullmatch(name) is not None


def fragment_key(fragment: str) -> str:
    """Return the key of a fragment's array."""
    return f"{ARRAYS}/{fragment}"


def metadata_key(fragment: str) -> str:
    """Return the key of the metadata of a fragment's array."""
    return f"{ARRAYS}/{fragment}/zarr.json"


def shard_key(fragment: str, number: int) -> str:
    """Return the key of a shard of a fragment's array."""
    return f"{ARRAYS}/{fragment}/c/{number}/0/0"


def shard_number(key: str) -> int | None:
    """Return the number of a shard; None for other keys."""
    return int(found[1]) if (found := _SHARD.fullmatch(key)) else None


def part_key(fragment: str) -> str:
    """Return the key of a fragment's part."""
    return f"{PARTS}/{fragment}.parquet"


def part_fragment(key: str) -> str | None:
    """Return the fragment of a part; None for other keys."""
    return found[1] if (found := _PART.fullmatch(key)) else None


def owner_of(key: str) -> str | None:
    """Return the fragment of an object below the arrays or the parts, even if its name is odd; None for others."""
    room, _, inside = key.partition("/")
    name, below, _ = inside.partition("/")
    if room == PARTS:
        return inside.removesuffix(".parquet")
    return name if room == ARRAYS and below else None


def snapshot_key(number: int) -> str:
    """Return the key of a snapshot, with 20 digits so that names sort like numbers."""
    return f"{INDEX}/{number:020d}.parquet"


def snapshot_number(key: str) -> int | None:
    """Return the number of a snapshot; None for other keys."""
    return int(found[1]) if (found := _SNAPSHOT.fullmatch(key)) else None


def is_tag(name: str) -> bool:
    """Return whether a tag may have this name."""
    return _TAG.fullmatch(name) is not None


def tag_key(name: str) -> str:
    """Return the key of a tag."""
    return f"{TAGS}/{name}.json"


def tag_name(key: str) -> str:
    """Return the name of the tag of a key below `TAGS`."""
    return key.removeprefix(f"{TAGS}/").removesuffix(".json")


def scratch_key(purpose: str) -> str:
    """Return a new key among the parts, where gc finds it, for an object that is deleted at once."""
    return f"{PARTS}/{purpose}-{uuid.uuid4().hex}"
