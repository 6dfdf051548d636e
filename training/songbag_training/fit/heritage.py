"""What a training takes over from the run that it starts from: the encoder, and the scaling before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np

from songbag_store.progress import Progress
from songbag_training.config import is_plug_in
from songbag_training.errors import DamagedRun, ModelError
from songbag_training.fit.material import Material
from songbag_training.lineage.parent import WEIGHTS, Parent
from songbag_training.models.layers import EMBEDDING_NAME
from songbag_training.models.members import member_path, number_of_members
from songbag_training.runs.checkpoints import NAME, Reached, save_checkpoint
from songbag_training.runs.overlap import inherit
from songbag_training.runs.run import Run
from songbag_training.runs.weights import opened_tensors, outline_of


def take_over(model: keras.Model, parent: Parent) -> None:
    """Give a model the encoder of a run, and the mean and deviation that its windows are scaled by.

    The encoder has learned from windows that were scaled so. Head and pooling stay as they are.

    Raises
    ------
    ModelError
        If the encoder, which is a function outside songbag, now has other weights.
    DamagedRun
        If the weights of the run are damaged.
    """
    network = model.get_layer("window_network")
    scaling, encoder = network.get_layer("scaling"), network.get_layer(EMBEDDING_NAME)
    config = parent.facts.network(parent.folder)
    n_members = number_of_members(model)
    if n_members == config.n_members:
        members = [{weight.path: weight for weight in encoder.weights}]
    else:
        members = [_as_single(encoder, number, config.encoder) for number in range(1, n_members + 1)]
    variables = {weight.path: weight for weight in scaling.weights} | members[0]
    path = parent.folder / WEIGHTS
    with opened_tensors(path) as file:
        # Weights of head and pooling have other names.
        taken = {name: file.get_tensor(name) for name in file.keys() if _is_of(name, variables)}  # noqa: SIM118
    held = {name: (tensor.shape, tensor.dtype) for name, tensor in taken.items()}
    wanted = outline_of(variables)
    if held != wanted:
        name = min(name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name))
        shapes = [str(own[name][0]) if name in own else "not there" for own in (held, wanted)]
        what = f"its weight {name!r} is {shapes[0]} in the run to start from, and {shapes[1]} now"
        remedy = "Start from a run that was made with the encoder as it is now."
        raise ModelError(what, place=f"encoder {parent.facts.network(parent.folder).encoder!r}", remedy=remedy)
    for name, tensor in taken.items():
        if not np.isfinite(tensor).all():
            raise DamagedRun(f"the weights {name!r} are not all finite numbers", place=str(path))
    for name, tensor in taken.items():
        variables[name].assign(tensor)
        # Every member begins with the one encoder that there was.
        for member in members[1:]:
            if name in member:
                member[name].assign(tensor)


def _as_single(encoder: keras.Model, number: int, name: str) -> dict[str, keras.Variable]:
    """Return the weights of a member of an encoder, by their names in a network without members."""
    own, before = encoder.get_layer(f"member_{number}"), f"{EMBEDDING_NAME}/" if is_plug_in(name) else ""
    return {before + weight.path.removeprefix(member_path("", number)): weight for weight in own.weights}


def _is_of(name: str, variables: dict[str, keras.Variable]) -> bool:
    """Return whether a weight is one of the encoder's, or would be if an encoder from outside had more."""
    return name in variables or name.startswith(f"{EMBEDDING_NAME}/")


def freeze(model: keras.Model) -> None:
    """Keep the weights of the encoder as they are, with the averages of its batch normalisation."""
    model.get_layer("window_network").get_layer(EMBEDDING_NAME).trainable = False


def beginning(material: Material, model: keras.Model, progress: Progress) -> Callable[[Path], None]:
    """Return what writes into a new run's folder what the training begins with, if it starts from another run.

    This is its first checkpoint, so that a resumed training does not need the other run, and what that knows of songs.
    """
    if material.parent is None:
        return lambda folder: None
    return partial(_begin, material, material.parent, model, progress)


def _begin(material: Material, parent: Parent, model: keras.Model, progress: Progress, folder: Path) -> None:
    stays = " stays as it is" if material.config.freeze else " is taken over"
    progress.note(f"starting from {parent.folder}: its encoder{stays}; head and pooling are new")
    inherit(Run(parent.folder, parent.facts), material.store, material.split, folder, progress)
    save_checkpoint(folder / NAME, model, Reached(rows=[], step=0, seconds=0.0))
