"""`store.json`: which store this is, of what spec, and who may read and write it. Created once, never rewritten."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any, Literal

from songbag_store.errors import DamagedStore, NewerFormat, StoreInTheWay, StoreNotFound
from songbag_store.format.keys import GROUP
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import KeyExists, Storage, create_once

FORMAT = 1


def read_identity(storage: Storage) -> dict[str, Any]:
    """Read and check `store.json`."""
    try:
        text = storage.get("store.json")
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            "there is no songbag store here (no store.json)",
            place=storage.location,
            remedy="Check the path; `songbag extract SOURCE STORE` makes a store.",
        ) from None
    try:
        document = json.loads(text)
        refuse_newer(document, "reader", storage.location)
        whole = isinstance(document["uuid"], str)
        whole &= FeatureSpec.from_dict(document["spec"]).fingerprint == document["fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedStore("is not what songbag wrote", key="store.json", place=storage.location) from error
    if not whole:
        raise DamagedStore("is not what songbag wrote", key="store.json", place=storage.location)
    return dict(document)


def refuse_newer(document: dict[str, Any], role: Literal["reader", "writer"], place: str) -> None:
    """Refuse a store that needs a newer format, or anything that this songbag has never heard of."""
    required = int(document[f"minimum_{role}"])
    unknown = dict(document.get("required_features", {}))
    if required <= FORMAT and not unknown:
        return
    needs = [f"format {required}"] if required > FORMAT else []
    needs += [f"{name!r} (songbag {version} or newer)" for name, version in sorted(unknown.items())]
    raise NewerFormat(
        f"the store needs a {role} of {', '.join(needs)}; this one knows format {FORMAT}",
        place=place,
        remedy="Upgrade with: pip install --upgrade songbag",
    )


def create_identity(storage: Storage, spec: FeatureSpec) -> None:
    """Create `store.json` and the Zarr group, unless another writer was first."""
    document = {
        "format": FORMAT,
        "minimum_reader": FORMAT,
        "minimum_writer": FORMAT,
        "required_features": {},
        "uuid": uuid.uuid4().hex,
        "spec": spec.to_dict(),
        "fingerprint": spec.fingerprint,
    }
    # Another writer may create the same store at this moment; opening it decides.
    with suppress(KeyExists):
        create_group(storage)
    with suppress(KeyExists):
        create_once(storage, "store.json", json.dumps(document, indent=2).encode())


def refuse_foreign_folder(storage: Storage) -> None:
    """Never begin a store among somebody's files; what a killed creation left, or a present one makes, is nobody's."""
    names = storage.top_level()
    strangers = names - {"features.zarr", "parts"}
    if strangers and "store.json" not in names:
        raise StoreInTheWay(
            f"the place is not empty and not a store (it holds {min(strangers)!r})",
            place=storage.location,
            remedy="Give a new or an empty folder for the store.",
        )


def create_group(storage: Storage) -> None:
    """Create the Zarr group above the arrays."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    create_once(storage, f"{GROUP}/zarr.json", json.dumps(document, indent=2).encode())
