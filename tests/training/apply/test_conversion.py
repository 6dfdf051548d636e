"""Layers that a format cannot take are named, with the formats that can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from keras import layers, ops

from songbag_store import FeatureSpec
from songbag_training.apply.conversion import write_model
from songbag_training.apply.export import portable_model
from songbag_training.errors import ModelError
from songbag_training.models.model import song_model
from songbag_training.songs.task import Task
from tests.support.long import LONG


def recurrent(bands: int, frames: int, channels: int) -> keras.Model:
    """Build a network with a layer that only TFLite lacks."""
    start = [layers.Permute((2, 1, 3)), layers.Reshape((frames, bands * channels))]
    return keras.Sequential([keras.Input((bands, frames, channels)), *start, layers.GRU(4, name="memory")])


@keras.saving.register_keras_serializable("test_conversion")
class Inverse(layers.Layer):
    """An operation that neither TFLite nor ONNX has."""

    def call(self, values: keras.KerasTensor) -> keras.KerasTensor:
        return ops.erfinv(ops.tanh(values))


def inverse(bands: int, frames: int, channels: int) -> keras.Model:
    """Build a network with such a layer inside a network of its own."""
    x = image = keras.Input((bands, frames, channels))
    inner = keras.Input((bands, frames, channels))
    x = keras.Model(inner, Inverse(name="strange")(inner))(x)
    return keras.Model(image, layers.GlobalAveragePooling2D()(x))


def spectral(bands: int, frames: int, channels: int) -> keras.Model:
    """Build a network with such an operation that is in no layer."""
    image = keras.Input((bands, frames, channels))
    flat = layers.Reshape((bands, frames * channels))(image)
    real, _ = ops.fft((flat, ops.zeros_like(flat)))
    return keras.Model(image, layers.GlobalAveragePooling1D()(real))


@pytest.mark.parametrize(
    ("encoder", "form", "named", "others"),
    [
        (recurrent, "tflite", r"the layer 'memory' \(GRU\) \(it has no TensorListReserve\)", "keras, savedmodel, onnx"),
        *(
            pytest.param(*case, "keras, savedmodel", marks=pytest.mark.long)
            for case in (
                *([(inverse, "tflite", r"the layer 'strange' \(Inverse\) \(it has no Erfinv\)")] if LONG else []),
                (inverse, "onnx", r"the layer 'strange' \(Inverse\) \(it has no Erfinv\)"),
                (spectral, "tflite", r"an operation between the layers \(it has no Complex, FFT\)"),
            )
        ),
    ],
)
def test_a_layer_that_a_format_cannot_take_is_named(
    spec: FeatureSpec,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    encoder: Callable[..., keras.Model],
    form: str,
    named: str,
    others: str,
) -> None:
    if form == "onnx" or "onnx" in others:
        pytest.importorskip("tf2onnx")
    model = portable_model(song_model(spec, Task(("a", "b")), encoder=f"{__name__}:{encoder.__name__}"))
    with pytest.raises(ModelError, match=rf"format: {form} cannot take {named}") as error:
        write_model(model, form, tmp_path / "model")  # type: ignore[arg-type]
    assert error.value.remedy.startswith(f"Formats that can: {others}. ")
    assert list(tmp_path.glob("*.tflite")) == []
    assert "loc(" not in capfd.readouterr().err
