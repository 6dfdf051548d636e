"""songbag's kernel."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.features.song import Features
from songbag_pipeline import window_features
from songbag_store import FeatureSpec


class Songbag(Features):
    def mfcc(self) -> Any:
        return window_features(self.samples, FeatureSpec())
