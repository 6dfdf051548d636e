"""songbag's pipeline: how features get into a store.

`extract` fills a store from a folder or a manifest; `window_features` is the feature function, `read_audio` the decoder
before it, and `features_of` both over many files without a store.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from songbag_pipeline.features.kernel import window_features
    from songbag_pipeline.run.config import ExtractConfig
    from songbag_pipeline.run.extract import extract
    from songbag_pipeline.run.summary import Summary
    from songbag_pipeline.songs.direct import SongFeatures, features_of
    from songbag_pipeline.songs.song import read_audio

__all__ = ["ExtractConfig", "SongFeatures", "Summary", "extract", "features_of", "read_audio", "window_features"]

_HOMES = {
    "ExtractConfig": "run.config",
    "SongFeatures": "songs.direct",
    "Summary": "run.summary",
    "extract": "run.extract",
    "features_of": "songs.direct",
    "read_audio": "songs.song",
    "window_features": "features.kernel",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line must answer before the decoders are loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
