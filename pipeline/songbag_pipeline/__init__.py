"""songbag's pipeline: how features get into a store.

`extract` fills a store from a folder or a manifest; `window_features` is the feature function, `read_audio` the decoder
before it, and `features_of` both over many files without a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from songbag_store.door import attach

if TYPE_CHECKING:
    from songbag_pipeline.features.windower import window_features as window_features
    from songbag_pipeline.run.config import ExtractConfig as ExtractConfig
    from songbag_pipeline.run.extract import extract as extract
    from songbag_pipeline.run.relay import Receiver as Receiver, compute_for as compute_for
    from songbag_pipeline.run.summary import Summary as Summary
    from songbag_pipeline.run.tags import Relabelled as Relabelled, relabel_from_tags as relabel_from_tags
    from songbag_pipeline.songs.clip import Recording as Recording, write_clip as write_clip
    from songbag_pipeline.songs.direct import (
        SongFeatures as SongFeatures,
        features_of as features_of,
        read_audio as read_audio,
    )

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "songbag_pipeline.features.windower": ("window_features",),
        "songbag_pipeline.run.config": ("ExtractConfig",),
        "songbag_pipeline.run.extract": ("extract",),
        "songbag_pipeline.run.relay": ("Receiver", "compute_for"),
        "songbag_pipeline.run.summary": ("Summary",),
        "songbag_pipeline.run.tags": ("Relabelled", "relabel_from_tags"),
        "songbag_pipeline.songs.clip": ("Recording", "write_clip"),
        "songbag_pipeline.songs.direct": ("SongFeatures", "features_of", "read_audio"),
    },
)
