"""Encoders from outside songbag, named ``module:function``: found, called and checked."""

from __future__ import annotations

from typing import Any

import keras

from songbag_store.plugin import first_line, load_named
from songbag_training.compat import rename_variable
from songbag_training.errors import ModelError
from songbag_training.models.encoders import ENCODERS, Encoder
from songbag_training.models.layers import EMBEDDING_NAME
from songbag_training.models.members import with_members


def load_encoder(name: str) -> Encoder:
    """Return an encoder by its name: one of songbag's, or a function of a module, which is imported.

    Only pass names that the user gave. A run may come from anyone, so the name in its `run.json` alone must not run
    code, see `songbag_training.runs.run.Run.allow_encoder`. The current folder is searched last.

    Raises
    ------
    ModelError
        If there is no such encoder, module or function, or the module cannot be imported.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if ":" not in name:
        remedy = f"There are: {', '.join(ENCODERS)}; one of your own is named as module:function."
        raise ModelError(f"there is no encoder {name!r}", place="model", remedy=remedy)
    found: Encoder = load_named(name, ModelError, place=f"encoder {name!r}")[1]
    return found


def build_encoder(name: str, n_bands: int, n_frames: int, n_channels: int, *, n_members: int = 1) -> keras.Model:
    """Build the network of an encoder for windows of one shape. Check the result of a function from outside.

    With several members the function is called once for each: see `songbag_training.models.members`.

    Returns
    -------
    encoder : keras.Model
        From (B, n_bands, n_frames, n_channels) to (B, E).

    Raises
    ------
    ModelError
        If there is no such encoder, it fails, or its network does not fit.
    """
    function, shape = load_encoder(name), (n_bands, n_frames, n_channels)
    members = [_built(name, function, shape) for _ in range(n_members)]
    return with_members(members) if n_members > 1 else members[0]


def _built(name: str, function: Encoder, shape: tuple[int, int, int]) -> keras.Model:
    """Return one network of an encoder."""
    if name in ENCODERS:
        return function(*shape)
    place = f"encoder {name!r}"
    try:
        network: Any = function(*shape)
    except Exception as error:
        what = f"fails for windows of {shape} with {type(error).__name__}: {first_line(error)}"
        raise ModelError(what, place=place, remedy=_TAKES) from error
    if not isinstance(network, keras.Model):
        raise ModelError(f"returns {type(network).__name__} and not a keras.Model", place=place, remedy=_TAKES)
    embedded = _embedded(network, shape, place)
    # Keras numbers unnamed layers through the life of a process (``conv2d``, then ``conv2d_1``), so weights that are
    # stored under such names would not be found again. Their positions do not change.
    for position, variable in enumerate(embedded.weights):
        if variable.dtype != "float32":
            what = f"its weight {variable.path!r} is of type {variable.dtype}; runs keep float32"
            raise ModelError(what, place=place, remedy="Build it of layers with float32 weights.")
        rename_variable(variable, f"{EMBEDDING_NAME}/{position:03}/{variable.name}")
    return embedded


_TAKES = "It is called as function(n_bands, n_frames, n_channels) and returns a keras.Model."


def _embedded(network: keras.Model, shape: tuple[int, int, int], place: str) -> keras.Model:
    """Return a network as a model with the encoder's name, after checking its inputs and outputs."""
    images = keras.Input(shape, name="image")
    try:
        embeddings: Any = network(images)
    except Exception as error:
        what = f"its model does not take windows of {shape} ({first_line(error)})"
        raise ModelError(what, place=place, remedy=_TAKES) from error
    shapes = getattr(embeddings, "shape", None)
    if shapes is None or len(shapes) != 2 or shapes[1] is None:
        given = "several outputs" if shapes is None else f"an output of shape {tuple(shapes)}"
        remedy = "End it with a pooling or Flatten: one vector of a fixed size for each window."
        raise ModelError(f"its model has {given} and not (batch, size)", place=place, remedy=remedy)
    return keras.Model(images, embeddings, name=EMBEDDING_NAME)
