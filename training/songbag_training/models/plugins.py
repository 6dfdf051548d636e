"""Encoders from outside songbag: any function ``(n_bands, n_frames, n_channels) -> keras.Model``, by its name.

The name is ``module:function``. Only what a user has named is imported: a run's folder may come from anybody, and the
name in its `run.json` alone brings nothing to run, see `songbag_training.runs.run.Run.allow_encoder`.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

import keras

from songbag_training.compat import rename_variable
from songbag_training.errors import ModelError
from songbag_training.models.encoders import ENCODERS, Encoder
from songbag_training.models.layers import EMBEDDING_NAME


def load_encoder(name: str) -> Encoder:
    """Return the encoder of a name: songbag's own, or the function of a module, which is imported.

    A module is also found in the current folder, after all other places.

    Raises
    ------
    ModelError
        If there is no such encoder, module or function, or the module cannot be imported.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    module_name, separator, function_name = name.partition(":")
    if not separator:
        remedy = f"There are: {', '.join(ENCODERS)}; one of your own is named as module:function."
        raise ModelError(f"there is no encoder {name!r}", place="model", remedy=remedy)
    found = getattr(_module(module_name, name), function_name, None)
    if not callable(found):
        what = f"the module {module_name!r} has no function {function_name!r}"
        raise ModelError(what, place=f"encoder {name!r}", remedy="Name it as module:function.")
    function: Encoder = found
    return function


def build_encoder(name: str, n_bands: int, n_frames: int, n_channels: int) -> keras.Model:
    """Build the network of an encoder for windows of one shape, and check what a function from outside returns.

    Returns
    -------
    encoder : keras.Model
        From (B, n_bands, n_frames, n_channels) to (B, E).

    Raises
    ------
    ModelError
        If there is no such encoder, it fails, or it returns no such network.
    """
    function = load_encoder(name)
    if name in ENCODERS:
        return function(n_bands, n_frames, n_channels)
    where, shape = f"encoder {name!r}", (n_bands, n_frames, n_channels)
    try:
        network: Any = function(*shape)
    except Exception as error:
        what = f"fails for windows of {shape} with {type(error).__name__}: {_first_line(error)}"
        raise ModelError(what, place=where, remedy=_TAKES) from error
    if not isinstance(network, keras.Model):
        raise ModelError(f"returns {type(network).__name__} and not a keras.Model", place=where, remedy=_TAKES)
    return _stored_by_position(_embedded(network, shape, where), where)


_TAKES = "It is called as function(n_bands, n_frames, n_channels) and returns a keras.Model."


def _module(module_name: str, name: str) -> ModuleType:
    here = os.getcwd()
    sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        reason = "is not there" if missing else f"cannot be imported ({type(error).__name__}: {_first_line(error)})"
        remedy = "Install the package it comes in, or start songbag in the folder that holds the module."
        raise ModelError(f"the module {module_name!r} {reason}", place=f"encoder {name!r}", remedy=remedy) from error
    finally:
        sys.path.remove(here)


def _embedded(network: keras.Model, shape: tuple[int, int, int], place: str) -> keras.Model:
    """Return a model of the encoder's name around a network, after checking what it takes and gives."""
    images = keras.Input(shape, name="image")
    try:
        embeddings: Any = network(images)
    except Exception as error:
        what = f"its model does not take windows of {shape} ({_first_line(error)})"
        raise ModelError(what, place=place, remedy=_TAKES) from error
    shapes = getattr(embeddings, "shape", None)
    if shapes is None or len(shapes) != 2 or shapes[1] is None:
        given = "several outputs" if shapes is None else f"an output of shape {tuple(shapes)}"
        remedy = "End it with a pooling or Flatten: one vector of a fixed size for each window."
        raise ModelError(f"its model has {given} and not (batch, size)", place=place, remedy=remedy)
    return keras.Model(images, embeddings, name=EMBEDDING_NAME)


def _stored_by_position(network: keras.Model, place: str) -> keras.Model:
    """Name the weights by their place in the network.

    Keras numbers unnamed layers through the life of a process: the same function gives ``conv2d`` first and
    ``conv2d_1`` the next time, and weights stored by such names would not be found again.
    """
    for position, variable in enumerate(network.weights):
        if variable.dtype != "float32":
            what = f"its weight {variable.path!r} is of type {variable.dtype}; runs keep float32"
            raise ModelError(what, place=place, remedy="Build it of layers with float32 weights.")
        rename_variable(variable, f"{EMBEDDING_NAME}/{position:03}/{variable.name}")
    return network


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
