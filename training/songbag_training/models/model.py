"""`song_model` and `window_model`: networks made of an encoder, a head and a pooling."""

from __future__ import annotations

import keras

from songbag_store import FeatureSpec
from songbag_training.errors import ModelError
from songbag_training.models.layers import FeatureScaling, FoldWindows, SpectralScaling, UnfoldWindows, channels_last
from songbag_training.models.members import DealBags, MembersHead, MembersPooling
from songbag_training.models.plugins import build_encoder
from songbag_training.models.poolings import POOLINGS
from songbag_training.models.reference import reference
from songbag_training.songs.task import Task
from songbag_training.types import FloatArray


def window_model(n_bands: int = 13, n_frames: int = 216, n_classes: int = 3, n_channels: int = 1) -> keras.Model:
    """Return the reference network, from one window to logits.

    Conv 16, pool (2, 3), Conv 16, pool (2, 2), Dense 32, Dense 32, Dense `n_classes` (one unit for two classes).

    Parameters
    ----------
    n_bands, n_frames, n_channels : int
        Shape of a window: the model takes (B, n_bands, n_frames, n_channels), normalised.
    n_classes : int
        Two or more.

    Raises
    ------
    ModelError
        If the windows are smaller than 10 bands or 14 frames.

    Examples
    --------
    >>> window_model(n_bands=13, n_frames=216, n_classes=3).count_params()
    21075
    """
    encoder = reference(int(n_bands), int(n_frames), int(n_channels))
    logits = keras.layers.Dense(Task(tuple(map(str, range(n_classes)))).n_logits, name="head")(encoder.output)
    return keras.Model(encoder.input, logits, name="window_model")


def window_network(spec: FeatureSpec, n_outputs: int, encoder: str, n_members: int = 1) -> keras.Model:
    """Return the network from windows as stored, (B, C, T), to embeddings (B, E) and what its head makes of them.

    With several members both hold the numbers of each member side by side.
    """
    windows = keras.Input(spec.window_shape, dtype=spec.encoding, name="window")
    images = channels_last(_scaling(spec, encoder)(windows), spec.n_channels)
    built = build_encoder(encoder, *images.shape[1:], n_members=n_members)
    embeddings = built(images)
    if n_members > 1:
        head = MembersHead(n_members, n_outputs, name="head")
    else:
        # In float32 also with mixed precision: the range of float16 is too small for the logits of long songs.
        head = keras.layers.Dense(n_outputs, dtype="float32", name="head")
    return keras.Model(windows, [embeddings, head(embeddings)], name="window_network")


def _scaling(spec: FeatureSpec, encoder: str) -> FeatureScaling:
    if encoder != "spectral":
        return FeatureScaling(spec.step, name="scaling")
    if spec.kind != "mfcc":
        what = f"'spectral' makes a spectrum of MFCC, and the store has {spec.kind}"
        raise ModelError(what, place="encoder 'spectral'", remedy="Use the encoder 'compact'.")
    return SpectralScaling(spec.step, spec.n_channels, name="scaling")


def song_model(
    spec: FeatureSpec,
    task: Task,
    *,
    encoder: str = "compact",
    n_members: int = 1,
    pooling: str = "mean",
    bag_size: int | None = None,
    scaling: tuple[FloatArray, FloatArray] | None = None,
) -> keras.Model:
    """Return the network from bags of windows to the logits of songs.

    Parameters
    ----------
    spec : FeatureSpec
        Decides shape and type of the windows.
    task : Task
        The classes, and whether a song may be of several.
    encoder : str
        Key of `songbag_training.models.encoders.ENCODERS`, or ``module:function``.
    n_members : int
        How many such networks there are, whose predictions are averaged: see `songbag_training.models.members`. In
        training a batch holds every bag that many times, one copy after the other.
    pooling : str
        Key of `songbag_training.models.poolings.POOLINGS`.
    bag_size : int, optional
        K; by default the model takes bags of any size.
    scaling : tuple of two arrays of shape (C,), optional
        Mean and standard deviation, see `songbag_training.songs.scaling`.

    Returns
    -------
    model : keras.Model
        From ``{"windows": (B, K, C, T) as stored, "mask": (B, K)}`` to logits (B, L). Its layers ``window_network`` and
        ``pooling`` give the predictions and the weights of windows.

    Raises
    ------
    ModelError
        If there is no such encoder or pooling, or the encoder does not take such windows.
    """
    if pooling not in POOLINGS:
        remedy = f"There are: {', '.join(POOLINGS)}."
        raise ModelError(f"there is no pooling {pooling!r}", place="model", remedy=remedy)
    network = window_network(spec, task.n_logits, encoder, n_members)
    if scaling is not None:
        network.get_layer("scaling").set_statistics(*scaling)
    windows = keras.Input((bag_size, *spec.window_shape), dtype=spec.encoding, name="windows")
    mask = keras.Input((bag_size,), name="mask")
    dealt = DealBags(n_members, name="deal")(windows) if n_members > 1 else windows
    embeddings, logits = network(FoldWindows(name="fold")(dealt))
    embeddings = UnfoldWindows(name="unfold_embeddings")(embeddings, mask)
    logits = UnfoldWindows(name="unfold_logits")(logits, mask)
    if n_members > 1:
        joined = MembersPooling(pooling, n_members, exclusive=not task.several, name="pooling")
    else:
        joined = POOLINGS[pooling](exclusive=not task.several, name="pooling")
    song_logits, _ = joined(embeddings, logits, mask)
    return keras.Model({"windows": windows, "mask": mask}, song_logits, name="song_model")
