"""The fit of one run: bags of a store in, weights and history in the run folder out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Progress, stretch
from songbag_training.config import TrainConfig
from songbag_training.errors import DamagedRun, RunError
from songbag_training.evaluation.score import SongScorer, stored_pieces
from songbag_training.fit.board import Board
from songbag_training.fit.callbacks import Keeper, Validate, Validation
from songbag_training.fit.devices import find_strategy, precision
from songbag_training.fit.guard import FiniteSteps, LossGuard
from songbag_training.fit.material import Material
from songbag_training.fit.progress import EpochProgress
from songbag_training.fit.schedule import RisingCosine
from songbag_training.models.loss import SongAccuracy, SongLoss
from songbag_training.models.model import song_model
from songbag_training.runs import checkpoints
from songbag_training.runs.checkpoints import Reached, read_reached
from songbag_training.runs.history import History
from songbag_training.runs.run import Run
from songbag_training.songs.augmentation import augmentation
from songbag_training.songs.bags import BagDataset
from songbag_training.songs.labels import Labels

CHECKPOINT_S = 60.0
"""Seconds between checkpoints inside an epoch."""


def compiled_model(material: Material, config: TrainConfig) -> keras.Model:
    """Build the model, normalised by the training songs, ready to fit."""
    store, labels, split = material.store, material.labels, material.split
    rows = split.rows_of("train")
    songs: pa.Table = labels.songs.take(pa.array(rows, pa.int64()))
    n_steps = -(-songs.num_rows // config.batch_size)
    task, balanced = labels.task, config.class_weight == "balanced"
    weights = task.balanced_weights(labels.targets(rows)) if balanced else None
    with find_strategy(config.batch_size).scope(), precision(config.mixed_precision):
        model = song_model(
            store.spec,
            task,
            encoder=config.encoder,
            pooling=config.pooling,
            bag_size=_bag_size(songs, config),
            scaling=material.scaling,
        )
        loss = SongLoss(task.softmax, class_weights=weights, label_smoothing=config.label_smoothing)
        model.compile(
            keras.optimizers.AdamW(
                RisingCosine(config.learning_rate, config.epochs * n_steps), weight_decay=config.weight_decay
            ),
            loss=loss,
            metrics=[SongAccuracy(task.softmax), FiniteSteps(loss)],
            steps_per_execution=config.steps_per_execution,
            # XLA was slower for both encoders on a CPU: docs/training.md.
            jit_compile=False,
        )
        # Made by the first step they would have that traced twice.
        model.optimizer.build(model.trainable_variables)
    return model


def _bag_size(songs: pa.Table, config: TrainConfig) -> int:
    """Return the bag size: no larger than the longest song, for masked slots cost as much as windows."""
    return min(config.bag_size, int(np.max(songs["n_windows"].to_numpy())))


def fit(
    run: Run,
    material: Material,
    model: keras.Model,
    *,
    checkpoint_s: float = CHECKPOINT_S,
    progress: Progress,
) -> int | None:
    """Train from the run's checkpoint on, or from the beginning; leave weights and history in the run folder.

    Returns
    -------
    best_epoch : int or None
        Counted from 1.
    """
    store, labels, split = material.store, material.labels, material.split
    config = run.facts.config
    reached = read_reached(run.folder / checkpoints.NAME)
    rows = split.rows_of("train")
    songs = labels.songs.take(pa.array(rows, pa.int64()))
    bags = BagDataset(
        store,
        songs,
        labels.targets(rows),
        bag_size=_bag_size(songs, config),
        batch_size=config.batch_size,
        seed=config.seed,
    )
    if reached.step >= bags.n_steps or reached.epoch > config.epochs:
        raise DamagedRun("is of another training", place=str(run.folder / checkpoints.NAME))
    _report_resumed(reached, config, bags, progress)
    held = split.rows_of("validation")
    validation = [Validation(_validation(store, model, labels, held))] if held else []
    with stretch(progress, config.epochs, "epochs"):
        shown = EpochProgress(config.epochs, progress)
        keeper = Keeper(run.folder, reached, bags, config.early_stopping, checkpoint_s, shown)
        keeper.restore(model)
        callbacks = [*validation, LossGuard(bags, run.folder), keeper]
        if config.tensorboard:
            callbacks.append(Board(run.folder, keeper.history))
        try:
            batches = _batches(store.spec, model, bags, labels, config)
            _fit_epochs(model, batches, bags.n_steps, reached, config, callbacks)
        except tf.errors.OpError as error:
            _raise_cause(error, bags, run.folder)
            raise
    return keeper.history.best_epoch


def _batches(
    spec: FeatureSpec, model: keras.Model, bags: BagDataset, labels: Labels, config: TrainConfig
) -> Callable[[int, int, int], tf.data.Dataset]:
    """Return the function that gives the batches from a step of an epoch to another epoch, their songs changed.

    All are counted from 0.
    """
    mean = model.get_layer("window_network").get_layer("scaling").mean.numpy()
    changed = augmentation(config, spec=spec, mean=mean, n_classes=len(labels.classes))
    return lambda epoch, step, stop: changed(bags.dataset((epoch, step), stop_epoch=stop), epoch * bags.n_steps + step)


def _fit_epochs(
    model: keras.Model,
    batches: Callable[[int, int, int], tf.data.Dataset],
    n_steps: int,
    reached: Reached,
    config: TrainConfig,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Fit the epochs that are left, as far as can be in one call: an epoch then finds its first batches read.

    The rest of an epoch has a call of its own, and so has every epoch whose last execution is of fewer steps than
    `steps_per_execution`: that would take the missing ones from the next epoch, were the dataset not at its end.
    """
    if History(reached.rows).has_waited(config.early_stopping):
        return
    epoch, step = reached.epoch, reached.step
    while epoch < config.epochs:
        alone = step or n_steps % config.steps_per_execution
        stop = epoch + 1 if alone else config.epochs
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


def _report_resumed(reached: Reached, config: TrainConfig, bags: BagDataset, progress: Progress) -> None:
    if reached.step:
        place = f"epoch {reached.epoch + 1} of {config.epochs}, after step {reached.step} of {bags.n_steps}"
        progress.note(f"resuming in {place}")
    elif reached.rows:
        progress.note(f"resuming after epoch {reached.epoch} of {config.epochs}")


def _raise_cause(error: Exception, bags: BagDataset, folder: Path) -> None:
    """Raise what is behind an error of TensorFlow's, where it is known: a failed read, or too little memory."""
    if bags.failure is not None:
        raise bags.failure from error
    if isinstance(error, tf.errors.ResourceExhaustedError):
        remedy = "Lower `batch_size` or `bag_size`."
        raise RunError("the device has too little memory for this batch", place=str(folder), remedy=remedy) from error


def _validation(store: SongStore, model: keras.Model, labels: Labels, rows: list[int]) -> Validate:
    """Return the function that scores the validation songs, every window of them."""
    scorer = SongScorer(model, labels.task)
    songs = labels.songs.take(rows)
    true = labels.targets(rows)

    def validate() -> tuple[float, float]:
        scores = scorer.score(stored_pieces(store, songs, scorer.chunk_windows))
        shares = np.array([score.probabilities for score in scores])
        return float(labels.task.losses(true, shares).mean()), float(labels.task.right(true, shares).mean())

    return validate
