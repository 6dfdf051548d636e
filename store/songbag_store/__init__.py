"""songbag's store: what is on disk, and how it is read.

`FeatureSpec` says what is computed of every song; `SongStore` opens the songs of one snapshot; a `Location` says where
they lie and how they are reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from songbag_store.door import attach

if TYPE_CHECKING:
    from songbag_store.errors import SongbagError as SongbagError
    from songbag_store.format.spec import FeatureSpec as FeatureSpec
    from songbag_store.storage.location import Location as Location
    from songbag_store.store import SongStore as SongStore

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "songbag_store.errors": ("SongbagError",),
        "songbag_store.format.spec": ("FeatureSpec",),
        "songbag_store.storage.location": ("Location",),
        "songbag_store.store": ("SongStore",),
    },
)
