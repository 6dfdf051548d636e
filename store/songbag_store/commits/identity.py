"""`store.json`: which store this is, its spec, and which formats may read and write it. It never changes."""

from __future__ import annotations

import uuid
from contextlib import suppress

from songbag_store.errors import DamagedStore, StoreInTheWay, StoreNotFound, UnusableAddress
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
        return Identity.from_json(storage.get(keys.IDENTITY), storage.address)
    except (FileNotFoundError, NotADirectoryError):
        what = f"there is no songbag store here (no {keys.IDENTITY})"
        remedy = "Check the path; `songbag extract SOURCE STORE` makes a store."
        raise StoreNotFound(what, place=storage.address, remedy=remedy) from None
    except UnusableAddress:
        raise
    except ValueError as error:
        what = f"is not what songbag wrote ({reason(error)})"
        raise DamagedStore(what, key=keys.IDENTITY, place=storage.address) from error


def create_identity(storage: Storage, spec: FeatureSpec) -> None:
    """Create `store.json` and the Zarr group, unless another writer was first."""
    identity = Identity(uuid=uuid.uuid4().hex, spec=spec, fingerprint=spec.fingerprint)
    # Another writer may create the same store at this moment; reading it back decides.
    for key, data in ((keys.GROUP_METADATA, GROUP_DOCUMENT), (keys.IDENTITY, identity.to_json())):
        with suppress(KeyExists):
            create_once(storage, key, data)


def refuse_foreign_folder(storage: Storage) -> None:
    """Refuse to begin a store among other files."""
    names = storage.top_level()
    # A creation that was killed, or is going on, leaves these two.
    strangers = names - {keys.ARRAYS, keys.PARTS}
    if strangers and keys.IDENTITY not in names:
        what = f"the place is not empty and not a store (it holds {min(strangers)!r})"
        raise StoreInTheWay(what, place=storage.address, remedy="Give a new or an empty folder for the store.")
