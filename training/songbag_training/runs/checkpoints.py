"""Checkpoints: the whole state of a training between two steps, in one safetensors file.

It carries its own digest and holds the weights, the optimizer's variables, the states of the random generators of
dropout and augmentation and, inside an epoch, the sums behind its loss and accuracy. Of the input, epoch and step are
enough: with the seed they decide which songs and windows a step sees.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from songbag_store.format.document import Count, Duration, parse_json, read_fields, reason, require
from songbag_store.storage.files import is_there
from songbag_training.errors import DamagedRun
from songbag_training.runs.history import COLUMNS, Row
from songbag_training.runs.seals import TENSORS_SEAL, tensors_fault
from songbag_training.runs.weights import opened_tensors, outline_of, read_tensors, save_tensors

if TYPE_CHECKING:
    import keras

NAME = "checkpoint.safetensors"

_HISTORY = "history/"
_EPOCHS = "columns of a history with the epochs 1, 2, 3, ..."
_REMEDY = "Delete it to train the run from its beginning when it is resumed."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a training has come."""

    rows: list[Row]
    """The finished epochs, see `songbag_training.runs.history`."""
    step: Count
    """Steps done of the epoch under way."""
    seconds: Duration
    """That these steps took."""

    @property
    def epoch(self) -> int:
        """The epoch under way, counted from 0."""
        return len(self.rows)


def save_checkpoint(path: Path, model: keras.Model, reached: Reached) -> None:
    """Write the state of a training in place of an earlier one.

    Raises
    ------
    FileError
        If the file cannot be written; the earlier one is then untouched.
    """
    tensors = {name: np.asarray(variable.numpy()) for name, variable in _state(model, reached.step > 0).items()}
    metadata = {"step": json.dumps(reached.step), "seconds": json.dumps(reached.seconds)}
    save_tensors(path, tensors | _columns(reached.rows), metadata)


def read_reached(path: Path, *, sealed: bool = False) -> Reached:
    """Read how far the training of a checkpoint has come; where there is no checkpoint, it is at its beginning.

    Parameters
    ----------
    sealed : bool
        Whether the run was begun since checkpoints carry their own digest.

    Raises
    ------
    DamagedRun
        If the file is not what songbag wrote.
    """
    if not is_there(path):
        return Reached(rows=[], step=0, seconds=0.0)
    with opened_tensors(path, None, "checkpoint", _REMEDY) as file:
        if fault := tensors_fault(path, sealed=sealed):
            raise DamagedRun(fault, place=str(path), remedy=_REMEDY)
        metadata = file.metadata() or {}
        names = [name for name in file.keys() if name.startswith(_HISTORY)]  # noqa: SIM118 (not a mapping)
        columns = {name.removeprefix(_HISTORY): file.get_tensor(name).tolist() for name in names}
    try:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        facts = {name: parse_json(text) for name, text in metadata.items() if name != TENSORS_SEAL}
        reached = read_fields(Reached, dict(rows=rows, **facts))
        known = columns.keys() <= set(COLUMNS)
        require(known and columns.get("epoch", []) == list(range(1, len(rows) + 1)), "history", list(columns), _EPOCHS)
    except (ValueError, TypeError, OverflowError) as error:
        what = f"is not a checkpoint that songbag wrote ({reason(error)})"
        raise DamagedRun(what, place=str(path), remedy=_REMEDY) from error
    for row in reached.rows:
        row["epoch"] = int(row["epoch"])
    return reached


def load_checkpoint(path: Path, model: keras.Model, reached: Reached, labels: npt.NDArray[Any]) -> None:
    """Put a compiled model into the state that `save_checkpoint` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The checkpoint.
    model : keras.Model
        Built and compiled as the one that was saved.
    reached : Reached
        What `read_reached` said.
    labels : array, shape (n, ...)
        Labels as the model is fitted with; only their type counts.

    Raises
    ------
    DamagedRun
        If the file holds anything but the state of such a model; that is then unchanged.
    """
    if not model.optimizer.built:
        # Built twice, the optimizer of mixed precision has variables twice.
        model.optimizer.build(model.trainable_variables)
    if reached.step:
        # Keras makes the variables of its metrics when they are used first.
        one = np.zeros([size or 1 for size in model.output_shape], np.float32)
        model.compute_metrics(None, labels[:1], one)
    state = _state(model, reached.step > 0)
    tensors = read_tensors(path, outline_of(state | _columns(reached.rows)), "checkpoint", _REMEDY)
    for name, variable in state.items():
        variable.assign(tensors[name])


def _columns(rows: list[Row]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the history as tensors, one a column: there may be thousands of epochs."""
    names = rows[0] if rows else ()
    return {f"{_HISTORY}{name}": np.array([row[name] for row in rows], np.float64) for name in names}


def _state(model: keras.Model, within_epoch: bool) -> dict[str, Any]:
    """Return every variable that decides how a training goes on, by a name that is the same in every process."""
    state = {f"weight/{variable.path}": variable for variable in model.weights}
    weights = set(map(id, model.weights))
    others = {
        # Keras numbers the names of these as it makes them; their order is that of the layers.
        "random": [variable for variable in model.variables if id(variable) not in weights],
        "optimizer": model.optimizer.variables,
        "metric": model.metrics_variables if within_epoch else [],
    }
    return state | {f"{kind}/{n}": variable for kind, of_kind in others.items() for n, variable in enumerate(of_kind)}
