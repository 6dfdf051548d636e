"""From an address to the storage that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from songbag_store.storage.storage import LocalStorage, Storage


def open_storage(location: str | Path, options: Mapping[str, str] | None = None) -> Storage:
    """Return the place of a store: an object store where the address has a scheme, else a local folder.

    A folder needs no options; they may be meant for where the songs come from.

    Raises
    ------
    UsageError
        If the address or an option is none.
    """
    if isinstance(location, str) and "://" in location:
        from songbag_store.storage.objects import ObjectStorage

        return ObjectStorage(location, options)
    return LocalStorage(Path(location))
