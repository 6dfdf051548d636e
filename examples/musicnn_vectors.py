"""Vectors of musicnn, a network that was trained to tag music, as features of songbag: docs/how-to/songs/musicnn.md.

The weights come from the package `musicnn` (ISC licence), of which only the checkpoints are read:
``pip install --no-deps musicnn==0.1.0``. The network follows J. Pons and X. Serra, "musicnn: pre-trained convolutional
neural networks for music audio tagging" (2019), and the names and shapes of the checkpoints' variables.
"""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import librosa
import numpy as np
import tensorflow as tf
from keras import layers, ops

import songbag

SAMPLE_RATE_HZ = 16000
N_MELS = 96
N_PENULTIMATE = 200
N_POOLED = 1506


@songbag.extractor(sample_rate_hz=SAMPLE_RATE_HZ, shape=(N_PENULTIMATE, 1), version="musicnn 0.1.0")
class Penultimate:
    """The last layer but one: what the network has learned of a window, in 200 numbers."""

    output = "penultimate"

    def __init__(self, model: str = "MTT_musicnn") -> None:
        # songbag runs a process on each core; TensorFlow may have begun in this one.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)
        whole = loaded(model)
        self.network = keras.Model(whole.input, whole.get_layer(self.output).output)

    def __call__(self, windows: Any) -> Any:
        # One at a time: for several windows TensorFlow reserves more memory than a song may take.
        mels = log_mel(windows)[:, None]
        vectors = [ops.convert_to_numpy(self.network(mel, training=False)) for mel in mels]
        return np.concatenate(vectors)[:, :, None]


@songbag.extractor(sample_rate_hz=SAMPLE_RATE_HZ, shape=(N_POOLED, 1), version="musicnn 0.1.0")
class Pooled(Penultimate):
    """Maximum and mean over time, in turn, of the 753 outputs of all convolutions: nearer to the sound."""

    output = "pooled"


def log_mel(windows: Any) -> Any:
    """Return the spectrogram that the network takes, shape (W, frames, 96), of windows of samples, (W, S)."""
    mel = librosa.feature.melspectrogram(y=windows, sr=SAMPLE_RATE_HZ, n_fft=512, hop_length=256, n_mels=N_MELS)
    n_frames = max(1, windows.shape[1] // 256)  # 187 for 3 s, as in its training
    return np.log10(10000 * mel[:, :, :n_frames] + 1).transpose(0, 2, 1)


def loaded(model: str = "MTT_musicnn") -> keras.Model:
    """Return the network with the weights of MTT_musicnn (MagnaTagATune) or MSD_musicnn (Million Song Dataset)."""
    package = importlib.util.find_spec("musicnn")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("musicnn is not installed: pip install --no-deps musicnn==0.1.0", name="musicnn")
    folder = Path(package.submodule_search_locations[0]) / model
    if not (folder / ".index").is_file() or not model.endswith("_musicnn"):
        raise ValueError(f"there is no model {model!r}; there are MTT_musicnn and MSD_musicnn")
    # The names of its files have nothing in front of their suffixes, so `tf.train.load_checkpoint` finds none.
    checkpoint = tf.compat.v1.train.NewCheckpointReader(f"{folder}/")
    network = architecture()
    for layer in network.layers:
        for weight in layer.weights:
            value = checkpoint.get_tensor(f"{layer.name}/{weight.name}")
            weight.assign(value.reshape(weight.shape) if weight.name == "kernel" else value)
    return network


def architecture() -> keras.Model:
    """Return the network without its weights; layers are named as the variables of the checkpoints."""
    mel = keras.Input((None, N_MELS), name="mel")
    image = _normal(0)(layers.Reshape((-1, N_MELS, 1))(mel))
    # Timbre: filters over 0.1 s and much of the spectrum, moved along both. Rhythm: over up to 2 s of one band.
    timbral = layers.ZeroPadding2D(((3, 3), (0, 0)))(image)
    fronts = [(timbral, 204, (7, 38), "valid"), (timbral, 204, (7, 67), "valid")]
    fronts += [(image, 51, (length, 1), "same") for length in (128, 64, 32)]
    found = []
    for number, (source, n_filters, size, padding) in enumerate(fronts):
        filtered = _convolution(layers.Conv2D, number, n_filters, size, padding)(source)
        found.append(ops.max(_normal(number + 1)(filtered), axis=2))
    middle = front = ops.concatenate(found, axis=2)
    outputs = [front]
    for number in (5, 6, 7):
        filtered = _normal(number + 1)(_convolution(layers.Conv1D, number, 64, 7, "same")(middle))
        middle = filtered if number == 5 else filtered + middle
        outputs.append(middle)
    everything = ops.concatenate(outputs, axis=2)
    in_turn = ops.stack([ops.max(everything, axis=1), ops.mean(everything, axis=1)], axis=2)
    pooled = layers.Reshape((N_POOLED,), name="pooled")(in_turn)
    hidden = layers.Dense(N_PENULTIMATE, activation="relu", name="dense")(_normal(9)(pooled))
    penultimate = layers.Identity(name="penultimate")(_normal(10)(hidden))
    return keras.Model(mel, layers.Dense(50, name="dense_1")(penultimate))


def _normal(number: int) -> layers.Layer:
    return layers.BatchNormalization(epsilon=1e-3, name=_name("batch_normalization", number))


def _convolution(kind: Any, number: int, n_filters: int, size: Any, padding: str) -> layers.Layer:
    return kind(n_filters, size, padding=padding, activation="relu", name=_name("conv2d", number))


def _name(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind
