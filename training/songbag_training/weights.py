"""Weights in safetensors files: tensors by name, nothing that runs when it is read."""

from __future__ import annotations

from pathlib import Path

import keras
import safetensors
import safetensors.numpy

from songbag_training.errors import DamagedRun
from songbag_training.files import write_whole


def save_weights(model: keras.Model, path: Path) -> None:
    """Write all weights of a model, normalisation included, in place of those that are there.

    Raises
    ------
    RunError
        If the file cannot be written; the earlier one is then untouched.
    """
    tensors = {variable.path: variable.numpy() for variable in model.weights}
    if len(tensors) != len(model.weights):
        raise AssertionError("two weights bear one name: name every layer")
    write_whole(path, safetensors.numpy.save(tensors))


def load_weights(model: keras.Model, path: Path) -> None:
    """Read the weights of a model, after checking that the file holds exactly those, in shape and type.

    Raises
    ------
    DamagedRun
        If it does not, or is damaged; the model is then unchanged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            held = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in found.items()}
            wanted = {variable.path: (tuple(variable.shape), "F32") for variable in model.weights}
            if held != wanted:
                raise DamagedRun(_difference(held, wanted), where=str(path), remedy="Restore the file, or train again.")
            for variable in model.weights:
                variable.assign(file.get_tensor(variable.path))
    except (OSError, safetensors.SafetensorError) as error:
        if isinstance(error, DamagedRun):
            raise
        what = f"the weights cannot be read ({str(error).splitlines()[0]})"
        raise DamagedRun(what, where=str(path), remedy="Restore the file from a copy, or train again.") from error


def _difference(held: dict[str, tuple[tuple[int, ...], str]], wanted: dict[str, tuple[tuple[int, ...], str]]) -> str:
    """Say how the tensors of a file differ from those of the model, by the first that does."""
    name = min(name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name))
    return f"the weights do not fit the model: {name!r} is {held.get(name)}, the model has {wanted.get(name)}"
