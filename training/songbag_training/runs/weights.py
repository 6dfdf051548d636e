"""Weights in safetensors files: tensors by name, and no code. Neither Keras nor TensorFlow is needed to read them.

The header of a file is compared with the model before a tensor is read or memory is taken for the model.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from songbag_store.format.document import reason
from songbag_store.storage.files import require_regular
from songbag_training.errors import DamagedRun
from songbag_training.runs.seals import (
    LONGEST_HEADER_BYTES,
    TENSORS_SEAL,
    Fault,
    tensors_fault,
    write_sealed_tensors,
)
from songbag_training.summaries.trees import TREES

if TYPE_CHECKING:
    import keras

Outline = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and type of every tensor by name."""

_SEALED_OR_EARLIER: Fault = partial(tensors_fault, sealed=False)
_NO_TENSORS: Mapping[str, npt.NDArray[Any]] = MappingProxyType({})
_NO_FACTS: Mapping[str, str] = MappingProxyType({})
_REMEDY = "Restore the file from a copy, or train again."


def save_weights(model: keras.Model, path: Path, trees: Mapping[str, npt.NDArray[Any]] = _NO_TENSORS) -> None:
    """Write all weights of a model, normalisation included, and trees beside it, in place of those that are there.

    Raises
    ------
    FileError
        If the file cannot be written; the earlier one is then untouched.
    """
    tensors = {variable.path: variable.numpy() for variable in model.weights}
    if len(tensors) != len(model.weights):
        raise AssertionError("two weights have one name: name every layer")
    save_tensors(path, tensors | dict(trees))


def save_tensors(path: Path, tensors: dict[str, npt.NDArray[Any]], facts: Mapping[str, str] = _NO_FACTS) -> None:
    """Write a safetensors file that carries its own digest and perhaps some facts, in place of an earlier one.

    Raises
    ------
    FileError
        If the file cannot be written; the earlier one is then untouched.
    """
    # A text that is nowhere else in the header; the digest replaces it.
    placeholder = secrets.token_hex(32)
    write_sealed_tensors(path, safetensors.numpy.save(tensors, {**facts, TENSORS_SEAL: placeholder}), placeholder)


def outline(build: Callable[[], keras.Model]) -> Outline:
    """Return the outline of a model's weights without allocating them: it is built in a graph that never runs."""
    import tensorflow as tf

    with tf.Graph().as_default():
        return outline_of({weight.path: weight for weight in build().weights})


def outline_of(variables: Mapping[str, Any]) -> Outline:
    """Return the outline of variables by name."""
    return {name: (tuple(one.shape), np.dtype(str(one.dtype))) for name, one in variables.items()}


def load_weights(model: keras.Model, path: Path, fault: Fault = _SEALED_OR_EARLIER) -> dict[str, npt.NDArray[Any]]:
    """Read the weights of a model, after checking that the file holds exactly those, in shape and type.

    Returns the arrays of the trees beside it, by name, if there are any.

    Parameters
    ----------
    fault : Fault
        Returns what is wrong with the file, see `songbag_training.runs.seals`; by default the digest that the file
        carries, if it carries one, is compared.

    Raises
    ------
    DamagedRun
        If it does not, is damaged or holds numbers that are not finite; the model is then unchanged.
    """
    variables = {weight.path: weight for weight in model.weights}
    tensors = read_tensors(path, outline_of(variables), fault=fault)
    for name, variable in variables.items():
        variable.assign(tensors.pop(name))
    return tensors


def read_tensors(
    path: Path,
    wanted: Outline | None,
    content: str = "weights",
    remedy: str = _REMEDY,
    fault: Fault = _SEALED_OR_EARLIER,
) -> dict[str, npt.NDArray[Any]]:
    """Read all tensors of a safetensors file; see `opened_tensors` and `load_weights`.

    Raises
    ------
    DamagedRun
        If they are not those that are wanted, are damaged, or are not all finite.
    """
    with opened_tensors(path, wanted, content, remedy) as file:
        if what := fault(path):
            raise DamagedRun(what, place=str(path), remedy=remedy)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise DamagedRun(f"the {content} {name!r} are not all finite numbers", place=str(path), remedy=remedy)
    return tensors


@contextmanager
def opened_tensors(
    path: Path, wanted: Outline | None = None, content: str = "weights", remedy: str = _REMEDY
) -> Iterator[Any]:
    """Open a safetensors file, after checking that its header is of a sane size.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    wanted : Outline, optional
        What the model has: the file must hold exactly this, in name, shape and type.
    content, remedy : str
        What the file is and what to do about a bad one, for messages.

    Raises
    ------
    DamagedRun
        If it holds anything else, or is damaged.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > LONGEST_HEADER_BYTES:
            raise ValueError(f"its header claims {header_bytes:,} bytes")
        with safetensors.safe_open(path, framework="numpy") as opened:
            difference = None if wanted is None else _difference(opened, wanted)
            if difference:
                raise DamagedRun(f"the {content} do not fit the model: {difference}", place=str(path), remedy=remedy)
            yield opened
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        if isinstance(error, DamagedRun):
            raise
        what = f"the {content} cannot be read ({reason(error)})"
        raise DamagedRun(what, place=str(path), remedy=remedy) from error


def _difference(file: Any, wanted: Outline) -> str | None:
    """Return how the first tensor differs from what is wanted; None if all are the same."""
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    coded = {name: (shape, _code(dtype)) for name, (shape, dtype) in wanted.items()}
    own = {name: part for name, part in parts.items() if name in coded or not name.startswith(TREES)}
    held = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in own.items()}
    if held == coded:
        return None
    name = min(name for name in held.keys() | coded.keys() if held.get(name) != coded.get(name))
    return f"{name!r} is {held.get(name)}, the model has {coded.get(name)}"


def _code(dtype: np.dtype[Any]) -> str:
    """Return how safetensors writes a type: F32, I64, U32, BOOL."""
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"
