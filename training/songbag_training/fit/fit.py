"""The fit of one run: bags of a store in, weights and history in the run folder out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from songbag_store.progress import Progress, stretch
from songbag_training.config import TrainConfig
from songbag_training.errors import DamagedRun, RunError
from songbag_training.evaluation.score import SongScorer
from songbag_training.fit.callbacks import Keeper, Validation
from songbag_training.fit.devices import find_strategy, precision
from songbag_training.fit.guard import FiniteSteps, LossGuard
from songbag_training.fit.heritage import freeze, take_over
from songbag_training.fit.material import Material
from songbag_training.fit.team import Team, refuse_lost, state_of
from songbag_training.models.loss import SongAccuracy, SongLoss
from songbag_training.models.model import song_model
from songbag_training.parts.parts import build_callbacks, build_optimizer
from songbag_training.parts.tracking import open_log
from songbag_training.runs import checkpoints
from songbag_training.runs.checkpoints import Reached, read_reached
from songbag_training.runs.history import History
from songbag_training.runs.run import Run
from songbag_training.songs.augmentation import augmentation
from songbag_training.songs.bags import BagDataset
from songbag_training.songs.sampling import song_rates

_BEST_EPOCH_LOST = f"Restore it from a copy, or delete {checkpoints.NAME} to train the run from its beginning."

Batches = Callable[[int, int, int], tf.data.Dataset]

CHECKPOINT_S = 60.0
"""Seconds between checkpoints inside an epoch."""


def compiled_model(material: Material) -> keras.Model:
    """Build the model, normalised by the training songs, ready to fit."""
    songs, _ = material.subset("train")
    config, task = material.config, material.labels.task
    n_steps = -(-material.n_epoch_songs // config.batch_size)
    strategy = tf.distribute.get_strategy() if material.team else find_strategy(config.batch_size, config.n_members)
    with strategy.scope(), precision(config.mixed_precision):
        model = song_model(
            material.store.spec,
            task,
            encoder=config.encoder,
            n_members=config.n_members,
            pooling=config.pooling,
            bag_size=_bag_size(songs, config),
            scaling=material.scaling,
        )
        if material.parent is not None:
            take_over(model, material.parent)
        if config.freeze:
            freeze(model)
        loss = SongLoss(task.softmax, class_weights=material.class_weights, label_smoothing=config.label_smoothing)
        optimizer = build_optimizer(config, config.epochs * n_steps)
        model.compile(
            optimizer if material.team is None else material.team.averaging(optimizer),
            loss=loss,
            metrics=[SongAccuracy(task.softmax), FiniteSteps(loss)],
            steps_per_execution=config.steps_per_execution,
            # XLA was slower for both encoders on a CPU: docs/how-to/training/training.md.
            jit_compile=False,
        )
        # If the first step made these variables, it would be traced twice.
        model.optimizer.build(model.trainable_variables)
    return model


def _bag_size(songs: pa.Table, config: TrainConfig) -> int:
    """Return the bag size: at most the windows of the longest song, because masked slots cost as much as windows."""
    return min(config.bag_size, int(pc.max(songs["n_windows"]).as_py()))


def fit(
    run: Run,
    material: Material,
    model: keras.Model,
    scorer: SongScorer,
    *,
    checkpoint_s: float,
    progress: Progress,
    until: int | None = None,
) -> int | None:
    """Train from the run's checkpoint on, or from the beginning; leave weights and history in the run folder.

    The validation songs are scored by `scorer`, which is of this model. `until` is the number of epochs to stop after,
    by default all.

    Returns
    -------
    best_epoch : int or None
        Counted from 1.
    """
    config = material.config
    team = material.team
    songs, targets = material.subset("train")
    bag_size = _bag_size(songs, config)
    bags = BagDataset(
        material.store,
        songs,
        targets,
        bag_size=bag_size,
        seed=config.seed,
        rates=song_rates(targets, config.sampling, config.epoch_songs),
        **(team.share_of(config) if team else {"batch_size": config.batch_size}),
    )
    validation = [Validation(material, scorer)] if material.split.counts()["validation"] else []
    batches = partial(_batches, material, model, bags)
    how: dict[str, Any] = {"checkpoint_s": checkpoint_s, "progress": progress, "until": until, "team": team}
    return learn(run, config, model, bags, batches, validation, **how)


def learn(
    run: Run,
    config: TrainConfig,
    model: keras.Model,
    bags: BagDataset,
    batches: Callable[[], Batches],
    validation: Sequence[keras.callbacks.Callback],
    *,
    checkpoint_s: float,
    progress: Progress,
    until: int | None = None,
    team: Team | None = None,
) -> int | None:
    """Fit a compiled model from the run's checkpoint on; leave weights and history in the run folder.

    Parameters
    ----------
    batches : callable
        Called when the model has the weights of the checkpoint: returns the function that gives the batches from a step
        of an epoch to another epoch, counted from 0.
    validation : sequence of keras.callbacks.Callback
        What judges the model after each epoch.
    until : int, optional
        As for `fit`.
    team : Team, optional
        The machines that train together.

    Returns
    -------
    best_epoch : int or None
        Counted from 1.
    """
    reached = read_reached(run.folder / checkpoints.NAME, sealed=run.is_sealed)
    if reached.step >= bags.n_steps or reached.epoch > config.epochs:
        raise DamagedRun("is of another training", place=str(run.folder / checkpoints.NAME))
    if reached.step:
        after = f"after step {reached.step} of {bags.n_steps}"
        progress.note(f"resuming in epoch {reached.epoch + 1} of {config.epochs}, {after}")
    elif reached.rows:
        progress.note(f"resuming after epoch {reached.epoch} of {config.epochs}")
    with stretch(progress, config.epochs, "epochs"):
        # Machines go on together, so their checkpoints are of the same moments.
        keeper = Keeper(run.folder, reached, bags, config, math.inf if team else checkpoint_s, progress)
        keeper.restore(model)
        if reached.rows and (fault := run.weights_fault(run.weights_path)):
            # The best epoch may be one of those that are not trained again.
            raise DamagedRun(fault, place=str(run.weights_path), remedy=_BEST_EPOCH_LOST)
        if team:
            known = (run.facts.snapshot_sha256, run.facts.split_sha256, config.to_dict(), reached.epoch, reached.step)
            team.require_same(state_of(model, *known))
            validation = team.callbacks(validation)
        own = build_callbacks(config, run.folder)
        logs = open_log(run, keeper.history)
        callbacks = [*validation, LossGuard(bags, run.folder), *own, keeper, *logs]
        try:
            fit_epochs(model, batches(), bags.n_steps, reached, config, callbacks, until)
            for one in own:
                one.end()
        except tf.errors.OpError as error:
            _raise_cause(error, bags, run.folder)
            if team:
                refuse_lost(error, str(run.folder))
            raise
    return keeper.history.best_epoch


def _batches(material: Material, model: keras.Model, bags: BagDataset) -> Callable[[int, int, int], tf.data.Dataset]:
    """Return the function that gives augmented batches from a step of an epoch to another epoch, counted from 0."""
    mean = model.get_layer("window_network").get_layer("scaling").mean.numpy()
    n_logits = material.labels.task.n_logits
    changed = augmentation(material.config, spec=material.store.spec, mean=mean, n_logits=n_logits)
    return lambda epoch, step, stop: changed(bags.dataset((epoch, step), stop_epoch=stop), epoch * bags.n_steps + step)


def fit_epochs(
    model: keras.Model,
    batches: Callable[[int, int, int], tf.data.Dataset],
    n_steps: int,
    reached: Reached,
    config: TrainConfig,
    callbacks: list[keras.callbacks.Callback],
    until: int | None = None,
) -> None:
    """Fit the epochs that are left, in one call of Keras where possible: an epoch then finds its first batches read.

    The rest of an epoch has its own call. So has every epoch whose last execution has fewer steps than
    `steps_per_execution`: without the end of a dataset, Keras would take the missing steps from the next epoch.
    """
    if History(reached.rows, config.monitor).has_waited(config.early_stopping):
        return
    epoch, step, last = reached.epoch, reached.step, min(until or config.epochs, config.epochs)
    while epoch < last:
        alone = step or n_steps % config.steps_per_execution
        stop = epoch + 1 if alone else last
        model.fit(
            batches(epoch, step, stop),
            initial_epoch=epoch,
            epochs=stop,
            steps_per_epoch=None if alone else n_steps,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
        if model.stop_training:
            return
        epoch, step = stop, 0


def _raise_cause(error: Exception, bags: BagDataset, folder: Path) -> None:
    """Raise the known cause of an error of TensorFlow's: a failed read, or too little memory."""
    if bags.failure is not None:
        raise bags.failure from error
    if isinstance(error, tf.errors.ResourceExhaustedError):
        remedy = "Lower `batch_size`, `bag_size` or `members`."
        raise RunError("the device has too little memory for this batch", place=str(folder), remedy=remedy) from error
