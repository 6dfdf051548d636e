"""Parts: what one task leaves behind when all its songs are done; written last, taken in by the next commit."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from songbag_store.errors import DamagedStore
from songbag_store.sealed import seal, unseal
from songbag_store.spec import FeatureSpec
from songbag_store.storage import ObjectFacts, Storage, create_once


def write_part(
    storage: Storage,
    store_uuid: str,
    spec: FeatureSpec,
    fragment: str,
    rows: pa.Table,
    objects: Mapping[str, ObjectFacts],
) -> None:
    """Create the part of a fragment: from here on its songs survive any crash.

    Parameters
    ----------
    rows : pyarrow.Table
        Index rows of the batch, ok and failed, with the column `replaces`.
    objects : mapping
        Size and SHA-256 of every object of the fragment, by key.
    """
    facts = {"store": store_uuid, "fingerprint": spec.fingerprint, "objects": objects}
    create_once(storage, _key(fragment), seal(rows, facts))


def read_part(storage: Storage, store_uuid: str, spec: FeatureSpec, fragment: str) -> pa.Table:
    """Return the rows of a part.

    Raises
    ------
    DamagedStore
        If it is not what was written, or was written for another store or spec.
    """
    key = _key(fragment)
    rows, facts = unseal(storage.get(key), key=key, where=storage.location)
    if facts.get("store") != store_uuid or facts.get("fingerprint") != spec.fingerprint:
        raise DamagedStore("belongs to another store", key=key, where=storage.location)
    return rows


def adopt_part(storage: Storage, store_uuid: str, spec: FeatureSpec, fragment: str) -> pa.Table:
    """Return the rows of a part that somebody else has finished, for a commit; see `read_part`.

    Its writer may have died before the part's name was on disk, so that is made sure of first.
    """
    rows = read_part(storage, store_uuid, spec, fragment)
    storage.make_durable(_key(fragment))
    return rows


def part_names(storage: Storage) -> set[str]:
    """Return the fragments that have a part."""
    keys = (entry.key for entry in storage.entries("parts"))
    return {key.removeprefix("parts/").removesuffix(".parquet") for key in keys if key.endswith(".parquet")}


def _key(fragment: str) -> str:
    return f"parts/{fragment}.parquet"
