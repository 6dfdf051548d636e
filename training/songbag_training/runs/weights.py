"""Weights in safetensors files: tensors by name, nothing that runs when it is read.

What a file says it holds is compared with what the model needs before a byte of a tensor is read or a byte of the model
is allocated: the header is at most 1 MiB, and its shapes must be those of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import tensorflow as tf

from songbag_store.storage.files import require_regular, write_whole
from songbag_training.errors import DamagedRun

Outline = dict[str, tuple[int, ...]]
"""Name and shape of every weight; all are float32."""

TypedOutline = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and type of every tensor by name."""

_LONGEST_HEADER_BYTES = 2**20
_REMEDY = "Restore the file from a copy, or train again."


def save_weights(model: keras.Model, path: Path) -> None:
    """Write all weights of a model, normalisation included, in place of those that are there.

    Raises
    ------
    FileError
        If the file cannot be written; the earlier one is then untouched.
    """
    tensors = {variable.path: variable.numpy() for variable in model.weights}
    if len(tensors) != len(model.weights):
        raise AssertionError("two weights bear one name: name every layer")
    write_whole(path, safetensors.numpy.save(tensors))


def outline(build: Callable[[], keras.Model]) -> Outline:
    """Return names and shapes of the weights of a model without making it: in a graph that never runs."""
    with tf.Graph().as_default():
        return _outline(build())


def check_weights(path: Path, wanted: Outline) -> None:
    """Check that a file holds exactly some weights, in name, shape and type, by its header alone.

    Raises
    ------
    DamagedRun
        If it does not, or is damaged.
    """
    with opened_tensors(path) as file:
        _compare(file, {name: (shape, np.dtype("float32")) for name, shape in wanted.items()}, path)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read the weights of a model, after checking that the file holds exactly those, in shape and type.

    Raises
    ------
    DamagedRun
        If it does not, is damaged or holds numbers that are not finite; the model is then unchanged.
    """
    tensors = read_tensors(path, {name: (shape, np.dtype("float32")) for name, shape in _outline(model).items()})
    for variable in model.weights:
        variable.assign(tensors[variable.path])


def read_tensors(
    path: Path, wanted: TypedOutline, content: str = "weights", remedy: str = _REMEDY
) -> dict[str, npt.NDArray[Any]]:
    """Read a safetensors file after checking that it holds exactly what is wanted, in name, shape and type.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    wanted : TypedOutline
        What the model has.
    content, remedy : str
        What the file is and what to do about a bad one, for messages.

    Raises
    ------
    DamagedRun
        If it does not, is damaged or holds numbers that are not finite.
    """
    with opened_tensors(path, content, remedy) as file:
        _compare(file, wanted, path, content, remedy)
        tensors = {name: file.get_tensor(name) for name in wanted}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise DamagedRun(f"the {content} {name!r} are not all finite numbers", place=str(path), remedy=remedy)
    return tensors


@contextmanager
def opened_tensors(path: Path, content: str = "weights", remedy: str = _REMEDY) -> Iterator[Any]:
    """Open a safetensors file of whose header nothing is absurd; turn what goes wrong into one error."""
    try:
        require_regular(path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > _LONGEST_HEADER_BYTES:
            raise ValueError(f"its header claims {header_bytes:,} bytes")
        with safetensors.safe_open(path, framework="numpy") as opened:
            yield opened
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        if isinstance(error, DamagedRun):
            raise
        what = f"the {content} cannot be read ({str(error).splitlines()[0]})"
        raise DamagedRun(what, place=str(path), remedy=remedy) from error


def _outline(model: keras.Model) -> Outline:
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def _compare(file: Any, outline: TypedOutline, path: Path, content: str = "weights", remedy: str = _REMEDY) -> None:
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    held = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}
    wanted = {name: (shape, _code(dtype)) for name, (shape, dtype) in outline.items()}
    if held != wanted:
        name = min(name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name))
        what = f"the {content} do not fit the model: {name!r} is {held.get(name)}, the model has {wanted.get(name)}"
        raise DamagedRun(what, place=str(path), remedy=remedy)


def _code(dtype: np.dtype[Any]) -> str:
    """Return how safetensors writes a type: F32, I64, U32, BOOL."""
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"
