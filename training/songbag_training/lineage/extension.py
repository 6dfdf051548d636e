"""Going on with a finished run, to more epochs than it had."""

from __future__ import annotations

import dataclasses

from songbag_store.errors import UsageError
from songbag_store.storage.files import is_there
from songbag_store.words import counted
from songbag_training.config import TrainConfig
from songbag_training.errors import DamagedRun
from songbag_training.runs.checkpoints import NAME, read_reached
from songbag_training.runs.history import History
from songbag_training.runs.run import Run


def longer(run: Run, epochs: int) -> TrainConfig:
    """Return the options of a finished run with more epochs, after checking that its training can go on to them.

    Raises
    ------
    UsageError
        If there are not more epochs, the training was stopped early, or its state was not kept.
    DamagedRun
        If the state is not what songbag wrote.
    """
    config, path = run.network, run.folder / NAME
    asked = dataclasses.replace(config, epochs=epochs)
    if not is_there(path):
        what = f"this run kept no state of its training to go on from (no {NAME})"
        remedy = "Start a new run from its encoder with `from_run`."
        raise UsageError(what, place=str(run.folder), remedy=remedy)
    reached = read_reached(path, sealed=run.is_sealed)
    done = len(reached.rows)
    if epochs <= done:
        what = f"is {epochs}, but {counted(done, 'epoch is', 'epochs are')} done"
        raise UsageError(what, place="epochs", remedy="Give more, or leave it out.")
    if History(reached.rows, config.monitor).has_waited(config.early_stopping):
        what = f"the training was stopped early, after {counted(done, 'epoch')}: the validation no longer improved"
        remedy = "Start a new run from its encoder with `from_run`."
        raise UsageError(what, place="epochs", remedy=remedy)
    if reached.step:
        raise DamagedRun("is not of the end of this training", place=str(path))
    return asked


def extend(run: Run, config: TrainConfig) -> None:
    """Make a finished run one that goes on with the options of `longer`. Its results stay until there are new ones."""
    done = read_reached(run.folder / NAME, sealed=run.is_sealed).epoch
    run.reopen(config=config, continued=[*(run.facts.continued or ()), done])


def require_state(run: Run) -> None:
    """Refuse to begin a training again that began with the state of another one, if that is gone.

    Raises
    ------
    DamagedRun
        If so.
    """
    facts, path = run.facts, run.folder / NAME
    if is_there(path) or not (facts.parent or facts.continued):
        return
    began = f"the encoder of {facts.parent['folder']}" if facts.parent else "the weights of its earlier epochs"
    remedy = f"The training began with {began}, which were in this file: train again into another folder."
    raise DamagedRun("is missing", place=str(path), remedy=remedy)
