"""Export: a run's model for programs without songbag.

In every format, the model takes a batch of bags in the unit of the features and returns probabilities:

    windows (B, K, C, T) float32, mask (B, K) float32
        ->  song_probabilities (B, n_classes), window_probabilities (B, K, n_classes), weights (B, K)

B and K may be any number. The model normalises its input. It consists of layers and operations of Keras alone, so
even the ``.keras`` file can be read without songbag.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
from keras import KerasTensor, ops

import songbag_store
from songbag_store.errors import MissingExtra, UsageError
from songbag_store.storage.files import creating, require_output
from songbag_training.apply.conversion import SUFFIXES, write_model
from songbag_training.config import ExportFormat
from songbag_training.models.layers import FeatureScaling, FusedBatchNormalization
from songbag_training.models.members import MembersHead, MembersPooling, TakeShare
from songbag_training.models.reference import PooledConvolution
from songbag_training.runs.run import Run, RunLike
from songbag_training.songs.task import THRESHOLD, Task
from songbag_training.summaries.blend import BlendPooling, WindowStatistics
from songbag_training.types import FloatArray

_TWINS = (PooledConvolution, FusedBatchNormalization, TakeShare)
_OUTPUTS = ("song_probabilities", "window_probabilities", "weights")


def export(run: RunLike, format: ExportFormat, output: str | Path, *, encoder: str | None = None) -> None:
    """Write a run's model for other tools, and beside it a JSON file that explains its numbers.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        A finished run.
    format : str
        ``"keras"``, ``"savedmodel"``, ``"tflite"`` or ``"onnx"``.
    output : str or pathlib.Path
        The file, or for a SavedModel the folder; ``<output>.json`` has the classes, the feature spec, and the shapes of
        inputs and outputs. An existing file is never replaced.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.

    Raises
    ------
    UsageError
        If there is no such format, something is in the place of the output, or its suffix is another.
    ModelError
        If the format cannot take a layer of an encoder from outside songbag: it names the layer and the formats that
        can.
    MissingExtra
        If ONNX is asked for, and the extra of that name is not installed.
    FileError
        If the output cannot be written.
    """
    path = Path(output)
    _require_possible(format, path)
    beside = path.with_name(path.name + ".json")
    run = Run.open(run).allow_encoder(encoder)
    model = portable_model(run.load_model())
    with creating(beside) as description, creating(path) as artefact:
        description.write_bytes(json.dumps(describe(run), indent=2, ensure_ascii=False).encode())
        write_model(model, format, artefact)


def describe(run: Run) -> dict[str, Any]:
    """Return what a program must know to use an exported model, as JSON types."""
    facts = run.facts
    n_coefficients, n_frames = facts.spec.window_shape
    n_classes = len(facts.classes)
    return {
        "songbag": songbag_store.__version__,
        "run_id": facts.run_id,
        "label": facts.label,
        "classes": facts.classes,
        "task": facts.task,
        "prediction": _prediction(facts.song_task),
        "inputs": {"windows": ["songs", "windows", n_coefficients, n_frames], "mask": ["songs", "windows"]},
        "outputs": {
            "song_probabilities": ["songs", n_classes],
            "window_probabilities": ["songs", "windows", n_classes],
            "weights": ["songs", "windows"],
        },
        "features": facts.spec.to_dict(),
        "fingerprint": facts.fingerprint,
    }


def _prediction(task: Task) -> dict[str, Any]:
    """Return what is predicted from the probabilities, by thresholds or costs in the order of the classes."""
    if task.costs:
        return {"by": "costs", "costs": [list(row) for row in task.costs]}
    if task.several or task.thresholds:
        return {"by": "thresholds", "thresholds": list(task.thresholds or [THRESHOLD] * len(task.classes))}
    return {"by": "most probable"}


def portable_model(model: keras.Model) -> keras.Model:
    """Return a song model with the inputs and outputs described above, of layers and operations of Keras alone.

    Parameters
    ----------
    model : keras.Model
        Made by `songbag_training.models.model.song_model`.
    """
    shape = model.input["windows"].shape[2:]
    windows = keras.Input((None, *shape), name="windows")
    mask = keras.Input((None,), name="mask")
    network = _without_own_layers(model.get_layer("window_network"))
    # The row of each slot (B, K) among all B * K windows: a reshape to (B, K, ...) would need two unknown sizes. Every
    # format has these sums.
    ones = ops.cast(ops.ones_like(mask), "int32")
    sizes = ops.sum(ones, axis=1, keepdims=True)
    place = ops.cumsum(sizes, axis=0) - sizes + ops.cumsum(ones, axis=1) - 1
    embeddings, logits = (ops.take(x, place, axis=0) for x in network(ops.reshape(windows, (-1, *shape))))
    pooling = _constant(model.get_layer("pooling"))
    song_logits, weights = pooling.call(embeddings, logits, mask)
    window_logits = pooling.of_windows(logits)
    values = (*(_probabilities(each, pooling.exclusive) for each in (song_logits, window_logits)), weights)
    return keras.Model({"windows": windows, "mask": mask}, dict(zip(_OUTPUTS, values, strict=True)), name="songbag")


def _constant(trained: Any) -> Any:
    """Return a pooling to be called as a function, whose weights are plain numbers: constants of the graph."""
    if isinstance(trained, BlendPooling):
        return trained.of_layers(_constant(trained.networks), _embedding)
    pooling, inner = type(trained).from_config(trained.get_config()), isinstance(trained, MembersPooling)
    own = [trained.temperature] if inner else trained.weights
    for weight in own:
        setattr(pooling, weight.name, np.asarray(weight))
    if inner:
        pooling.poolings = [_constant(one) for one in trained.poolings]
    return pooling


def _embedding(rows: FloatArray) -> keras.layers.Layer:
    """Return a layer that looks up rows: every format has it, and keeps the table once."""
    layer = keras.layers.Embedding(*rows.shape, dtype="float32")
    layer.build(None)
    layer.set_weights([rows])
    return layer


def _without_own_layers(network: keras.Model) -> keras.Model:
    """Return the window network, or its encoder, with Keras's layers in place of songbag's."""

    def call(layer: keras.layers.Layer, *arguments: Any, **options: Any) -> Any:
        if isinstance(layer, FeatureScaling):
            return layer.scaled(arguments[0], np.asarray(layer.mean), np.asarray(layer.std))
        if isinstance(layer, WindowStatistics):
            return layer.of(arguments[0])
        if isinstance(layer, TakeShare):
            return arguments[0]
        if isinstance(layer, MembersHead):
            return _plain_heads(layer, arguments[0])
        if isinstance(layer, PooledConvolution):
            plain = keras.layers.Conv2D(layer.filters, layer.kernel_size, activation="relu", name=layer.name)
            convolved = plain(arguments[0])
            plain.set_weights(layer.get_weights())
            return keras.layers.MaxPooling2D(layer.pool_size, name=f"{layer.name}_pool")(convolved)
        if isinstance(layer, FusedBatchNormalization):
            plain = keras.layers.BatchNormalization.from_config(layer.get_config())
            normal = plain(*arguments, **options)
            plain.set_weights(layer.get_weights())
            return normal
        if isinstance(layer, keras.Model) and any(isinstance(inner, _TWINS) for inner in layer.layers):
            return _without_own_layers(layer)(*arguments, **options)
        return layer(*arguments, **options)

    windows = keras.Input(network.input.shape[1:], name=network.input.name)
    return keras.models.clone_model(
        network, input_tensors=windows, clone_function=lambda layer: layer, call_function=call
    )


def _plain_heads(head: MembersHead, embeddings: KerasTensor) -> KerasTensor:
    """Return what the heads of all members make of their embeddings, by Keras's layers."""
    logits = []
    for number, own in enumerate(ops.split(embeddings, head.n_members, axis=-1)):
        plain = keras.layers.Dense(head.n_outputs, name=f"{head.name}_{number + 1}")
        logits.append(plain(own))
        plain.set_weights([head.kernels[number], head.biases[number]])
    return keras.layers.Concatenate(name=head.name)(logits)


def _probabilities(logits: KerasTensor, exclusive: bool) -> KerasTensor:
    """Turn logits (..., L) into probabilities (..., n_classes), as `probabilities` does."""
    if not exclusive:
        return ops.sigmoid(logits)
    if logits.shape[-1] == 1:
        return ops.concatenate([ops.sigmoid(-logits), ops.sigmoid(logits)], axis=-1)
    return ops.softmax(logits, axis=-1)


def _require_possible(form: ExportFormat, path: Path) -> None:
    if form not in SUFFIXES:
        remedy = f"There are: {', '.join(get_args(ExportFormat))}."
        raise UsageError(f"there is no format {form!r}", place="export", remedy=remedy)
    require_output(path, *filter(None, [SUFFIXES[form]]))
    if form == "onnx":
        try:
            import tf2onnx  # noqa: F401
        except ImportError as error:
            raise MissingExtra("onnx", error.name or "tf2onnx", place="exporting to ONNX") from error
