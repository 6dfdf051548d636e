"""Parts: the rows of one finished job, which the next commit takes in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pyarrow as pa

from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.format.facts import ObjectFacts, PartFacts
from songbag_store.format.sealed import Sealed, seal
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import Storage, create_once


def write_part(
    storage: Storage,
    store_uuid: str,
    spec: FeatureSpec,
    fragment: str,
    rows: pa.Table,
    objects: Mapping[str, ObjectFacts],
) -> None:
    """Create the part of a fragment; after this its songs survive any crash.

    Parameters
    ----------
    rows : pyarrow.Table
        Index rows of the batch, ok and failed, with the column `replaces`.
    objects : mapping
        Size and SHA-256 of every object of the fragment, by key.
    """
    facts = PartFacts(store=store_uuid, fingerprint=spec.fingerprint, objects=dict(objects))
    create_once(storage, keys.part_key(fragment), seal(rows, dataclasses.asdict(facts)))


def read_part(storage: Storage, store_uuid: str, spec: FeatureSpec, fragment: str) -> pa.Table:
    """Return the rows of a part.

    Raises
    ------
    DamagedStore
        If it is not what was written, or was written for another store or spec.
    """
    return read_part_facts(storage, store_uuid, spec, fragment)[0]


def read_part_facts(
    storage: Storage, store_uuid: str, spec: FeatureSpec, fragment: str
) -> tuple[pa.Table, dict[str, ObjectFacts]]:
    """Return the rows of a part, and size and SHA-256 of every object of its fragment, by key.

    Raises
    ------
    DamagedStore
        If it is missing, not what was written, or was written for another store or spec.
    """
    key = keys.part_key(fragment)
    try:
        data = storage.get(key)
    except FileNotFoundError as error:
        raise DamagedStore("is missing", key=key, place=storage.address) from error
    part = Sealed(data, key=key, place=storage.address)
    facts = part.read_facts(PartFacts)
    if (facts.store, facts.fingerprint) != (store_uuid, spec.fingerprint):
        raise DamagedStore("belongs to another store", key=key, place=storage.address)
    return part.read(), facts.objects


def finished_parts(
    storage: Storage, store_uuid: str, spec: FeatureSpec, taken: frozenset[str], *, adopt: bool = True
) -> tuple[dict[str, pa.Table], list[str]]:
    """Read the parts that no snapshot has taken in.

    Parameters
    ----------
    taken : frozenset of str
        Fragments of the parts that the snapshots have.
    adopt : bool
        Whether they will be committed; if not, nothing is written.

    Returns
    -------
    parts : dict
        Rows by fragment.
    damaged : list of str
        Fragments whose parts cannot be read; their songs are computed again.
    """
    parts, damaged = {}, []
    for name in sorted(part_names(storage) - taken):
        try:
            parts[name] = (adopt_part if adopt else read_part)(storage, store_uuid, spec, name)
        except DamagedStore:
            damaged.append(name)
    return parts, damaged


def adopt_part(storage: Storage, store_uuid: str, spec: FeatureSpec, fragment: str) -> pa.Table:
    """Return the rows of another writer's part, for a commit; see `read_part`."""
    rows = read_part(storage, store_uuid, spec, fragment)
    # Its writer may have died before the name was on disk.
    storage.make_durable(keys.part_key(fragment))
    return rows


def part_names(storage: Storage) -> set[str]:
    """Return the fragments that have a part."""
    return {name for entry in storage.entries(keys.PARTS) if (name := keys.part_fragment(entry.key))}
