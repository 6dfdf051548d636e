"""`store.json`: which store this is, of what spec, and who may read and write it. Created once, never rewritten."""

from __future__ import annotations

import uuid
from contextlib import suppress

from songbag_store.errors import DamagedStore, NewerFormat, StoreInTheWay, StoreNotFound
from songbag_store.format import keys
from songbag_store.format.array import GROUP_DOCUMENT
from songbag_store.format.document import reason
from songbag_store.format.facts import Identity
from songbag_store.format.spec import FeatureSpec
from songbag_store.storage.storage import KeyExists, Storage, create_once


def read_identity(storage: Storage) -> Identity:
    """Read and check `store.json`.

    Raises
    ------
    StoreNotFound
        If there is none.
    NewerFormat
        If reading the store needs a newer songbag.
    DamagedStore
        If the file is not what songbag wrote.
    """
    try:
        return Identity.from_json(storage.get(keys.IDENTITY))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            f"there is no songbag store here (no {keys.IDENTITY})",
            place=storage.address,
            remedy="Check the path; `songbag extract SOURCE STORE` makes a store.",
        ) from None
    except NewerFormat as error:
        error.place = storage.address
        raise
    except ValueError as error:
        what = f"is not what songbag wrote ({reason(error)})"
        raise DamagedStore(what, key=keys.IDENTITY, place=storage.address) from error


def refuse_writing(identity: Identity, place: str) -> None:
    """Refuse to write a store that needs a newer writer; see `Identity.refuse_writing`."""
    try:
        identity.refuse_writing()
    except NewerFormat as error:
        error.place = place
        raise


def create_identity(storage: Storage, spec: FeatureSpec) -> None:
    """Create `store.json` and the Zarr group, unless another writer was first."""
    identity = Identity(uuid=uuid.uuid4().hex, spec=spec, fingerprint=spec.fingerprint)
    # Another writer may create the same store at this moment; opening it decides.
    for key, data in ((keys.GROUP_METADATA, GROUP_DOCUMENT), (keys.IDENTITY, identity.to_json())):
        with suppress(KeyExists):
            create_once(storage, key, data)


def refuse_foreign_folder(storage: Storage) -> None:
    """Refuse to begin a store among other files; what a creation makes that was killed, or is going on, is no such."""
    names = storage.top_level()
    strangers = names - {keys.ARRAYS, keys.PARTS}
    if strangers and keys.IDENTITY not in names:
        raise StoreInTheWay(
            f"the place is not empty and not a store (it holds {min(strangers)!r})",
            place=storage.address,
            remedy="Give a new or an empty folder for the store.",
        )
