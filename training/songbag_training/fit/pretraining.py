"""`pretrain`: an encoder from songs without labels, as a run that trainings start from."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.declaration import require_kind
from songbag_store.format.index import CONTENT, END, PLACE_COLUMNS, START
from songbag_store.progress import Progress, shown_on
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_training.config import PretrainConfig, TrainConfig
from songbag_training.errors import LabelError
from songbag_training.fit.callbacks import HeldOut
from songbag_training.fit.devices import find_strategy, precision
from songbag_training.fit.fit import CHECKPOINT_S, learn
from songbag_training.fit.guard import FiniteSteps
from songbag_training.fit.material import Material
from songbag_training.fit.record import facts_of, now, pin
from songbag_training.models.contrast import N_WINDOWS, ContrastAccuracy, ContrastLoss, contrast_model
from songbag_training.parts.schedule import RisingCosine
from songbag_training.parts.tracking import require_log
from songbag_training.runs.attempt import attempt
from songbag_training.runs.facts import PRETRAINING, PretrainingFacts
from songbag_training.runs.history import read_rows
from songbag_training.runs.interruption import refuse_unfinished, telling
from songbag_training.runs.run import Run
from songbag_training.songs.augmentation import augmentation
from songbag_training.songs.bags import BagDataset
from songbag_training.songs.labels import Labels
from songbag_training.songs.scaling import scaling_statistics
from songbag_training.songs.task import Task
from songbag_training.splits.copies import Copies
from songbag_training.splits.deal import carve_validation
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import Split

_DEFAULTS = PretrainConfig()
_FEWEST_ASIDE = 4
"""Validation songs; with fewer, telling them apart says nothing, and none are kept aside."""


def pretrain(
    store: StoreLike,
    output: str | Path,
    config: PretrainConfig = _DEFAULTS,
    *,
    where: str | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    progress: Progress | None = None,
) -> Run:
    """Learn an encoder from all songs of a store, with labels or without, and write a run folder.

    Two windows of a song, each changed at random, are to be more similar than windows of two songs of a batch. Of a
    song with a single window, these are two changes of that window. Copies of a recording are not told apart. 15 % of
    the songs are kept aside, copies on one side, and the weights of the epoch that tells these apart best are kept.

    The run is an encoder without classes: `train` with ``from_run`` goes on from it, and `embed` and `similar` take it.
    The same store, options and machine give the same weights, to the byte.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store, at the snapshot to learn from.
    output : str or pathlib.Path
        The run folder, new or empty.
    config : PretrainConfig
        How to learn.
    where : str, optional
        SQL expression over the index; only these songs are used.
    checkpoint_s, progress
        As for `songbag_training.train`.

    Returns
    -------
    run : Run
        The finished run.

    Raises
    ------
    ModelError
        If the encoder does not fit the windows.
    UsageError
        If the folder is not empty, or there are not two different songs.
    NonFiniteLoss
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> pretrain("my-store", "my-encoder")
    >>> train("my-store", "genre", "my-run", from_run="my-encoder")
    """
    require_kind(config, "config", PretrainConfig)
    progress, folder = progress or shown_on(sys.stdout), Path(output)
    refuse_unfinished(folder, store)
    with telling(folder, store, progress):
        return pretrain_on(
            prepare_songs(store, where, config, progress=progress), config, folder, progress, checkpoint_s
        )


def prepare_songs(
    store: StoreLike,
    where: str | None,
    config: PretrainConfig,
    split: Split | None = None,
    progress: Progress | None = None,
) -> Material:
    """Choose songs, and which of them are kept aside; those of a split, if one is given. No TensorFlow is used here.

    Raises
    ------
    UsageError
        See `pretrain`.
    """
    opened = SongStore.open(store)
    schema = opened.inside.state.content.schema
    columns = [name for name in dict.fromkeys((*PLACE_COLUMNS, CONTENT, START, END)) if name in schema.names]
    songs = opened.songs(where, columns=columns, arrow=True).sort_by("song_id")
    if split is not None:
        songs = songs.filter(pc.is_in(songs["song_id"], value_set=pa.array(split.song_ids, pa.string())))
    n = songs.num_rows
    labels = Labels(songs=songs, names=[""] * n, task=Task(("",)), n_unlabelled=0)
    notes: list[str] = []
    if split is None:
        split = _kept_aside(opened, labels, config.seed, notes, progress)
    training = config.training(opened.spec)
    scaling = scaling_statistics(opened, songs["song_id"].take(pa.array(split.rows_of("train"), pa.int64())))
    return Material(opened, "", where, labels, split, scaling, training, notes)


def _kept_aside(store: SongStore, labels: Labels, seed: int, notes: list[str], progress: Progress | None) -> Split:
    """Return the split: validation songs as whole units of copies, if there are enough songs."""
    ids, n = labels.songs["song_id"].to_pylist(), labels.songs.num_rows
    if n < 2:
        what = f"there {'is' if n == 1 else 'are'} {counted(n, 'song')} with features, and it takes two to tell apart"
        raise UsageError(what, place=store.address, remedy="`songbag failures STORE` tells why songs failed.")
    copies = Copies.find(store, progress)
    notes += copies.notes
    split = copies.joined(Split(tuple(ids), ("",) * n, ("train",) * n))
    if len(set(_recordings(labels.songs, split).tolist())) < 2:
        raise UsageError("all songs are copies of one recording: there is nothing to tell apart", place=store.address)
    try:
        carved = carve_validation(split, labels, "", seed=seed)
    except LabelError:
        carved = split
    aside = _recordings(labels.songs, carved)[carved.rows_of("validation")]
    if len(set(aside.tolist())) < _FEWEST_ASIDE:
        notes.append("note: there are too few songs to keep some aside: the weights of the last epoch are kept")
        return split
    return carved


def _recordings(songs: pa.Table, split: Split) -> Any:
    """Return the number of each song's recording."""
    return find_units(songs, (), list(split.copies().values()))


def pretrain_on(
    material: Material, config: PretrainConfig, folder: Path, progress: Progress, checkpoint_s: float = CHECKPOINT_S
) -> Run:
    """Learn from songs that were prepared; see `pretrain`."""
    counts = material.split.counts()
    aside = f": {counts['train']:,} to learn from, {counts['validation']:,} kept aside" * bool(counts["validation"])
    progress.note(f"{counted(len(material.split.song_ids), 'song')}, labels are not looked at{aside}")
    for note in material.notes:
        progress.note(note)
    require_log(material.config)
    own = PretrainingFacts(projection=config.projection)
    facts = facts_of(material, classes=[], task=PRETRAINING, pretraining=own)
    model = _compiled(material, config.projection)
    return _complete(Run.create(folder, facts, material.split), material, model, checkpoint_s, progress)


def go_on_pretraining(
    run: Run, store: SongStore, config: TrainConfig, progress: Progress, checkpoint_s: float, begin: Callable[[], None]
) -> Run:
    """Go on with an interrupted run, or with a finished one; see `songbag_training.fit.train.resume`.

    `begin` is called when everything was checked.
    """
    assert run.facts.pretraining is not None
    asked = PretrainConfig.of(config, run.facts.pretraining["projection"])
    material = prepare_songs(store, run.facts.where, asked, run.split())
    model = _compiled(material, asked.projection)
    begin()
    return _complete(run, material, model, checkpoint_s, progress)


def _compiled(material: Material, projection: int) -> keras.Model:
    """Build the model, with everything random set by the seed for this whole process."""
    config = material.config
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    n_steps = -(-material.n_epoch_songs // config.batch_size)
    with find_strategy(config.batch_size).scope(), precision(config.mixed_precision):
        model = contrast_model(material.store.spec, encoder=config.encoder, size=projection, scaling=material.scaling)
        loss = ContrastLoss()
        rate = RisingCosine(config.learning_rate, config.epochs * n_steps)
        model.compile(
            keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
            loss=loss,
            metrics=[ContrastAccuracy(), FiniteSteps(loss)],
            steps_per_execution=config.steps_per_execution,
            jit_compile=False,
        )
        model.optimizer.build(model.trainable_variables)
    return model


def _bags(material: Material, subset: Any) -> BagDataset:
    """Return two windows of each song of a subset; the label of a song is the number of its recording."""
    songs, _ = material.subset(subset)
    recordings = _recordings(material.labels.songs, material.split)[material.split.rows_of(subset)]
    config = material.config
    return BagDataset(
        material.store, songs, recordings, bag_size=N_WINDOWS, batch_size=config.batch_size, seed=config.seed
    )


def _complete(run: Run, material: Material, model: keras.Model, checkpoint_s: float, progress: Progress) -> Run:
    """Learn what is left to learn, and end the run."""
    config, bags = material.config, _bags(material, "train")
    mean = model.get_layer("window_network").get_layer("scaling").mean.numpy()
    changed = augmentation(config, spec=material.store.spec, mean=mean, n_logits=1)

    def batches(epoch: int, step: int, stop: int) -> tf.data.Dataset:
        return changed(bags.dataset((epoch, step), stop_epoch=stop), epoch * bags.n_steps + step)

    validation: list[keras.callbacks.Callback] = []
    if material.split.counts()["validation"]:
        aside = _bags(material, "validation")
        validation.append(HeldOut(model, aside, lambda: changed(aside.dataset((0, 0), stop_epoch=1), 0)))
    with attempt(run.folder):
        pin(run, material.store, progress)
        best = learn(
            run, config, model, bags, lambda: batches, validation, checkpoint_s=checkpoint_s, progress=progress
        )
        run.finish(finished_at=now(), best_epoch=best)
    rows = read_rows(run.folder / "history.csv")
    told = f"weights of epoch {best}: {run.folder}"
    if best and "val_loss" in rows[best - 1]:
        row = rows[best - 1]
        told = f"of the songs kept aside {row['val_accuracy']:.0%} were told apart (loss {row['val_loss']:.3f}), {told}"
    progress.note(told)
    progress.note(f"go on with: songbag train STORE --label L --from {shlex.quote(str(run.folder))}")
    return run
