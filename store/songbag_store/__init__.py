"""songbag's store: what is on disk, and how it is read.

`FeatureSpec` says what is computed of every song; `SongStore` opens the songs of one snapshot; a `Location` says where
they lie and how they are reached.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from songbag_store.errors import SongbagError
    from songbag_store.format.spec import FeatureSpec
    from songbag_store.storage.location import Location
    from songbag_store.store import SongStore

__all__ = ["FeatureSpec", "Location", "SongStore", "SongbagError"]
__version__ = "0.1.0"

_HOMES = {
    "FeatureSpec": "format.spec",
    "Location": "storage.location",
    "SongStore": "store",
    "SongbagError": "errors",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line must answer before pyarrow is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
