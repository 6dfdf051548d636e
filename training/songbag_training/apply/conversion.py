"""A portable model written in a format, and the layers that a format cannot take."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import tensorflow as tf

from songbag_training.config import ExportFormat
from songbag_training.errors import ModelError

SUFFIXES: dict[ExportFormat, str] = {"keras": ".keras", "savedmodel": "", "tflite": ".tflite", "onnx": ".onnx"}

_NAMED = 6
_OPERATION = re.compile(r'error: loc\((?:callsite\()?fused\["(\w+):", "([^"@]+)')
"""The type and the name of an operation in an error of TFLite's converter. The name is a path of layers."""


class _Refused(Exception):
    """A format lacks operations: their types, and their names, which are paths of layers."""

    def __init__(self, operations: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self.operations = operations


def write_model(model: keras.Model, form: ExportFormat, path: Path) -> None:
    """Write a portable model.

    Raises
    ------
    ModelError
        If the format lacks what a layer needs: it names the layers, and the formats that can take them.
    """
    try:
        _write(model, form, path)
    except _Refused as error:
        named = _layers_of(model, error.operations) or ["an operation between the layers"]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        lacking = ", ".join(sorted({kind for kind, _ in error.operations}))
        because = f" (it has no {lacking})" if lacking else ""
        what = f"{form} cannot take {', '.join(named[:_NAMED])}{more}{because}"
        others = [other for other in get_args(ExportFormat) if other != form and _takes(model, other)]
        able = f"Formats that can: {', '.join(others)}." if others else "No other format can either."
        raise ModelError(what, place="format", remedy=f"{able} Or build the encoder of other layers.") from error


def _write(model: keras.Model, form: ExportFormat, path: Path) -> None:
    with warnings.catch_warnings():
        # Keras gives these with numpy 2.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        if form == "keras":
            model.save(path)
        elif form == "savedmodel":
            model.export(path, format="tf_saved_model", verbose=False)
        elif form == "tflite":
            _write_tflite(model, path)
        else:
            _write_onnx(model, path)


def _write_tflite(model: keras.Model, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="songbag-") as folder:
        _save_one_function(model, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # Few programs have the operations of TensorFlow itself.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            with _silent():
                data = converter.convert()
        except Exception as error:  # of a type that TensorFlow does not name
            raise _Refused(_OPERATION.findall(str(error))) from error
    path.write_bytes(data)


def _save_one_function(model: keras.Model, folder: str) -> None:
    """Write a model as a SavedModel of one function: Keras's own has functions of every layer, which take as long."""

    def run(**bags: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = model(bags, training=False)
        return outputs

    bags = {name: tf.TensorSpec(one.shape, one.dtype, name) for name, one in model.input.items()}
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    function = tf.function(run, autograph=False).get_concrete_function(**bags)
    tf.saved_model.save(module, folder, signatures=function)


def _write_onnx(model: keras.Model, path: Path) -> None:
    import onnx

    # Keras refuses to convert a model that was never called.
    model({name: np.ones([n or 1 for n in one.shape], np.float32) for name, one in model.input.items()})
    with _silent():
        model.export(path, format="onnx", verbose=False)
    # The converter writes operations that it does not know as they are, and no program could run the file.
    unknown = [node for node in onnx.load(path).graph.node if not onnx.defs.has(node.op_type, node.domain)]
    if unknown:
        raise _Refused([(node.op_type, node.name) for node in unknown])


def _takes(model: keras.Model, form: ExportFormat) -> bool:
    """Return whether a model can be written in another format; without its extra, ONNX cannot."""
    with tempfile.TemporaryDirectory(prefix="songbag-") as folder:
        try:
            _write(model, form, Path(folder) / f"model{SUFFIXES[form]}")
        except Exception:  # this format is not offered then, for any reason
            return False
    return True


def _layers_of(model: keras.Model, operations: Sequence[tuple[str, str]]) -> list[str]:
    """Return the innermost layers whose operations these are, each once."""
    found = {}
    for _, path in operations:
        owner: keras.layers.Layer = model
        for part in path.split("/"):
            inner = owner.layers if isinstance(owner, keras.Model) else []
            owner = next((one for one in inner if re.fullmatch(rf"{re.escape(one.name)}(_\d+)?", part)), owner)
        if not isinstance(owner, keras.Model):
            found[id(owner)] = f"the layer {owner.name!r} ({type(owner).__name__})"
    return list(found.values())


@contextmanager
def _silent() -> Iterator[None]:
    """Discard what a converter writes to standard error: an error says it again."""
    sys.stderr.flush()
    logger, kept = logging.getLogger("tf2onnx"), os.dup(2)
    level, nowhere = logger.level, os.open(os.devnull, os.O_WRONLY)
    logger.setLevel(logging.CRITICAL + 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        logger.setLevel(level)
