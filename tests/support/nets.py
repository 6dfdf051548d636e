"""Encoders from outside songbag that cost next to nothing, for what does not depend on the encoder."""

from __future__ import annotations

import keras
from keras import layers


def flat(n_bands: int, n_frames: int, n_channels: int) -> keras.Model:
    """Return a network of one layer with weights."""
    return keras.Sequential([keras.Input((n_bands, n_frames, n_channels)), layers.Flatten(), layers.Dense(6)])


def with_state(n_bands: int, n_frames: int, n_channels: int) -> keras.Model:
    """Return one that has dropout and batch normalisation, as `compact` has."""
    own = [layers.BatchNormalization(), layers.Dropout(0.2)]
    return keras.Sequential([keras.Input((n_bands, n_frames, n_channels)), layers.Flatten(), layers.Dense(6), *own])
