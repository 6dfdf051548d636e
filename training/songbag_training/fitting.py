"""The fit of one run: bags of a store in, weights and history in the run folder out."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from songbag_store import SongStore
from songbag_training.augmentation import augmented
from songbag_training.bags import BagDataset
from songbag_training.callbacks import BestEpoch, LossGuard, Validate
from songbag_training.config import TrainConfig
from songbag_training.errors import RunError
from songbag_training.labels import Labels, Targets, encode_labels
from songbag_training.metrics import song_metrics
from songbag_training.model import scaling_statistics, song_model
from songbag_training.progress import EpochProgress, Report
from songbag_training.runs import Run
from songbag_training.scoring import SongScorer, stored_pieces
from songbag_training.splits import Split
from songbag_training.tasks import SongAccuracy, SongLoss, balanced_weights


def compiled_model(store: SongStore, labels: Labels, split: Split, config: TrainConfig) -> keras.Model:
    """Build the model, normalised by the training songs, ready to fit."""
    n_classes = len(labels.classes)
    rows = split.rows_of("train")
    songs: pa.Table = labels.songs.take(rows)
    model = song_model(
        store.spec,
        n_classes,
        task=labels.task,
        encoder=config.encoder,
        pooling=config.pooling,
        bag_size=config.bag_size,
        scaling=scaling_statistics(songs, store.spec),
    )
    n_steps = -(-songs.num_rows // config.batch_size)
    rate = _learning_rate(config, config.epochs * n_steps)
    balanced = config.class_weight == "balanced"
    weights = balanced_weights(_numbers(labels, rows), n_classes, labels.task) if balanced else None
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
        loss=SongLoss(n_classes, labels.task, class_weights=weights, label_smoothing=config.label_smoothing),
        metrics=[SongAccuracy(n_classes, labels.task)],
        jit_compile=False,
    )
    return model


def _learning_rate(config: TrainConfig, n_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the schedule: up from a twentieth over a tenth of the steps, then down to zero along half a cosine."""
    rising = n_steps // 10
    return keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 20, n_steps - rising, warmup_target=config.learning_rate, warmup_steps=rising
    )


def fit(run: Run, store: SongStore, model: keras.Model, labels: Labels, split: Split, report: Report) -> int | None:
    """Train; leave weights and history in the run folder, and return the best epoch."""
    config = run.facts.train_config
    rows = split.rows_of("train")
    bags = BagDataset(
        store,
        [split.song_ids[row] for row in rows],
        _numbers(labels, rows).tolist(),
        bag_size=config.bag_size,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    batches = augmented(
        bags.dataset(stop_epoch=config.epochs),
        config,
        spec=store.spec,
        mean=model.get_layer("window_network").get_layer("scaling").mean.numpy(),
        n_classes=len(labels.classes),
    )
    held = split.rows_of("validation")
    validate = _validation(store, model, labels, held) if held else None
    with EpochProgress(config.epochs, report) as progress:
        best = BestEpoch(run.folder, validate, config.early_stopping, progress)
        try:
            model.fit(
                batches,
                steps_per_epoch=bags.n_steps,
                epochs=config.epochs,
                callbacks=[best, LossGuard(bags, run.folder)],
                shuffle=False,
                verbose=0,
            )
        except tf.errors.OpError as error:
            _raise_cause(error, bags, run.folder)
            raise
    return best.best_epoch


def _raise_cause(error: Exception, bags: BagDataset, folder: Path) -> None:
    """Raise what is behind an error of TensorFlow's, where it is known: a failed read, or too little memory."""
    if bags.failure is not None:
        raise bags.failure from error
    if isinstance(error, tf.errors.ResourceExhaustedError):
        remedy = "Lower --batch-size or --bag-size."
        raise RunError("the device has too little memory for this batch", where=str(folder), remedy=remedy) from error


def _validation(store: SongStore, model: keras.Model, labels: Labels, rows: list[int]) -> Validate:
    """Return the function that scores the validation songs, every window of them."""
    scorer = SongScorer(model)
    songs = labels.songs.take(rows)
    true = _numbers(labels, rows)

    def validate() -> tuple[float, float]:
        scores = scorer.score(stored_pieces(store, songs, scorer.chunk_windows))
        metrics = song_metrics(true, np.array([score.probabilities for score in scores]))
        return float(metrics["log_loss"] or 0.0), float(metrics["accuracy"] or 0.0)

    return validate


def _numbers(labels: Labels, rows: list[int]) -> Targets:
    return encode_labels([labels.names[row] for row in rows], labels.classes, labels.task)
