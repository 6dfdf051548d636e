"""`train`: from a store and a label column to a run folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from songbag_store.format.declaration import require_options
from songbag_store.progress import Progress, shown_on
from songbag_store.storage.files import is_there
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_training.config import TrainConfig
from songbag_training.evaluation.headline import cross_validation_hint, floor_lines, headline, members_line, small_notes
from songbag_training.evaluation.leaks import leak_lines
from songbag_training.evaluation.score import SongScorer
from songbag_training.fit.baselines.floor import floor_of, trees_of
from songbag_training.fit.decision import decide
from songbag_training.fit.fit import CHECKPOINT_S, compiled_model, fit
from songbag_training.fit.heritage import beginning
from songbag_training.fit.material import Material, note_songs, prepare
from songbag_training.fit.pretraining import go_on_pretraining
from songbag_training.fit.record import facts_of, now, pin
from songbag_training.fit.team import joined
from songbag_training.lineage.extension import extend, longer, require_state
from songbag_training.pages.run import add_page
from songbag_training.parts.parts import Parts, load_callbacks
from songbag_training.parts.tracking import log_results, require_log
from songbag_training.runs import checkpoints
from songbag_training.runs.attempt import attempt, refuse_running
from songbag_training.runs.document import CROSS_VALIDATION
from songbag_training.runs.evaluate import judge_split
from songbag_training.runs.interruption import refuse_others, refuse_unfinished, telling
from songbag_training.runs.plan import sweep_of
from songbag_training.runs.run import Run, RunLike
from songbag_training.runs.store import open_store
from songbag_training.runs.weights import load_weights, save_weights
from songbag_training.splits.split import SplitLike
from songbag_training.work import TeamConfig

_DEFAULTS, _ALONE = TrainConfig(), TeamConfig()
_OWN = Parts()


def train(
    store: StoreLike,
    label: str,
    output: str | Path,
    config: TrainConfig = _DEFAULTS,
    *,
    where: str | None = None,
    split: SplitLike | None = None,
    group: Sequence[str] = (),
    from_run: RunLike | None = None,
    team: TeamConfig = _ALONE,
    checkpoint_s: float = CHECKPOINT_S,
    progress: Progress | None = None,
) -> Run:
    """Train a song model and write a run folder.

    The songs are split into train, validation and test. The weights of the epoch whose validation was best are
    kept, or those of the last epoch if the split has no validation songs. They are evaluated on every window of every
    song. The same store, options and machine give the same weights, to the byte: for this, the random seeds and the
    op determinism of TensorFlow are set for the whole process.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store, at the snapshot to train on.
    label : str
        Column of the index with one label a song: text, whole numbers or booleans; or with a list of them.
    output : str or pathlib.Path
        The run folder, new or empty.
    config : TrainConfig
        How to train.
    where : str, optional
        SQL expression over the index; only these songs are used.
    split : Split, str or pathlib.Path, optional
        A split made beforehand, or the file that `songbag split` wrote; by default a new one is made.
    group : sequence of str, optional
        Columns of the index: songs with the same artist, album, ... stay in one subset of a new split.
    from_run : Run, str or pathlib.Path, optional
        A finished run on the same features, to begin with its encoder, and with its mean and deviation of the features.
        Head and pooling are new, so classes and pooling may differ. ``config.freeze`` keeps the encoder as it is.
    team : TeamConfig
        The machines that train together, if there are several: docs/how-to/training/training.md.
    checkpoint_s : float
        Seconds between checkpoints inside an epoch; there is always one at its end. `resume` goes on from the last.
    progress : Progress, optional
        Where to show epochs; by default a bar on standard output, or lines if that is no terminal.

    Returns
    -------
    run : Run
        The finished run; ``run.folder / "metrics.json"`` says how good it is.

    Raises
    ------
    LabelError
        If the labels cannot be learned.
    LeakError
        If a test song would also be trained on.
    SplitMismatch
        If the store no longer has the songs of the split.
    ModelError
        If the encoder does not fit the windows.
    SpecMismatch
        If the run to start from was trained on other features.
    UsageError
        If the run to start from has another encoder than is asked for, or one from outside songbag that is not named.
        If the folder is not empty, or no song is left. A folder with a training that did not end is named as such, with
        the call that goes on with it.
    NonFiniteLoss
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> run = train("my-store", "genre", "runs/first", TrainConfig(epochs=30))
    >>> predict(run, "new-songs/")
    """
    require_options(config, "config", TrainConfig)
    progress, folder = progress or shown_on(sys.stdout), Path(output)
    refuse_unfinished(folder, store)
    with telling(folder, store, progress):
        options: dict[str, Any] = {"group": group, "config": config, "from_run": from_run, "progress": progress}
        machines = joined(team)
        material = dataclasses.replace(prepare(store, label, where, split, **options), team=machines)
        return train_on(material, folder, progress, checkpoint_s)


def train_on(
    material: Material,
    folder: Path,
    progress: Progress,
    checkpoint_s: float = CHECKPOINT_S,
    *,
    until: int | None = None,
    ends: bool = True,
) -> Run:
    """Train on songs that were prepared; see `train`.

    With `until` it stops after so many epochs: finished if it `ends`, else ready to go on.
    """
    note_songs(material.labels, material.split, material.notes, progress)
    require_log(material.config)
    load_callbacks(material.config)
    # Options that do not fit are refused before the folder is made.
    task = material.labels.task
    facts = facts_of(material, classes=list(task.classes), task=task.name)
    model = _repeatable_model(material)
    run = Run.create(folder, facts, material.split, beginning(material, model, progress))
    return _complete(run, material, model, checkpoint_s, progress, until, ends)


def resume(
    output: str | Path,
    store: StoreLike | None = None,
    *,
    epochs: int | None = None,
    encoder: str | None = None,
    optimizer: str | None = None,
    schedule: str | None = None,
    callbacks: Sequence[str] = (),
    team: TeamConfig = _ALONE,
    checkpoint_s: float = CHECKPOINT_S,
    progress: Progress | None = None,
) -> Run:
    """Go on with an interrupted training, at the step after its last checkpoint; or with a finished one to more epochs.

    The run folder names the songs, the options and the snapshot. On the same machine the final weights are the same, to
    the byte, as without the interruption.

    A finished run goes on from its last epoch. The learning rate is that of the new number of epochs from there on. The
    results of the run stay until there are new ones.

    Parameters
    ----------
    output : str or pathlib.Path
        The run folder. A finished run is returned as it is, unless there are more epochs.
    store : SongStore, Location, str or pathlib.Path, optional
        The store at the run's snapshot, or its address; by default the address at which the training began.
    epochs : int, optional
        Of a finished run: how many epochs it shall have in all.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    optimizer, schedule, callbacks
        Their names, to allow them in the same way.
    team, checkpoint_s, progress
        As for `train`.

    Raises
    ------
    RunNotFound
        If no training has begun in this folder.
    DamagedRun
        If a file of the folder is not what songbag wrote.
    UsageError
        If the store is another one, there are not more epochs than were done, or code from outside songbag was not
        allowed.
    NonFiniteLoss
        If the loss becomes NaN or infinite.
    """
    progress, run = progress or shown_on(sys.stdout), Run.open_unfinished(output)
    with telling(run.folder, store or run.facts.store_location, progress):
        parts = Parts.of({"optimizer": optimizer, "schedule": schedule, "callbacks": callbacks})
        return go_on(run, store, encoder, progress, parts=parts, epochs=epochs, team=team, checkpoint_s=checkpoint_s)


def go_on(
    run: Run,
    store: StoreLike | None,
    encoder: str | None,
    progress: Progress,
    *,
    parts: Parts = _OWN,
    epochs: int | None = None,
    team: TeamConfig = _ALONE,
    checkpoint_s: float = CHECKPOINT_S,
    until: int | None = None,
    ends: bool = True,
) -> Run:
    """Go on with a training; see `resume` and `train_on`."""
    facts, split = run.facts, run.split()
    own = run.network
    more = None if epochs == own.epochs else epochs
    if facts.finished_at is not None and more is None:
        what = f"the training of this run was finished at {facts.finished_at}"
        progress.note(f"{what}: nothing is left to resume: {run.folder}")
        return run
    refuse_running(run.folder)
    if more is not None and facts.finished_at is None:
        refuse_others({"epochs": more}, {"epochs": own.epochs})
    run.allow_encoder(encoder).require_encoder()
    parts.require(own, str(run.folder))
    require_log(own)
    config = own if more is None else longer(run, more)
    require_state(run)
    opened = open_store(facts, store)
    if facts.pretraining is not None:
        begin = (lambda: None) if more is None else partial(extend, run, config)
        return go_on_pretraining(run, opened, config, progress, checkpoint_s, begin)
    machines = joined(team)
    material = prepare(opened, facts.label, facts.where, split, config=config, resumed=True)
    material = dataclasses.replace(material, team=machines)
    model = _repeatable_model(material)
    if more is not None:
        extend(run, config)
    return _complete(run, material, model, checkpoint_s, progress, until, ends)


def refuse_contradictions(run: Run, given: Mapping[str, Any]) -> None:
    """Refuse options of a resumed training that are not those of its run; an option that is not given is the run's.

    Parameters
    ----------
    run : Run
        The run to resume.
    given : mapping
        Options of `songbag train` by their names in Python.

    Raises
    ------
    UsageError
        Naming the first that differs.
    """
    facts = run.facts
    own: dict[str, Any] = {"label": facts.label, "where": facts.where, "snapshot": facts.snapshot}
    own |= {"split": facts.split_sha256, "group": list(run.split().group)}
    own |= {"from_run": facts.parent["folder"] if facts.parent else None}
    if facts.finished_at is not None:
        # It may have more epochs, see `resume`.
        given = {name: value for name, value in given.items() if name != "epochs"}
    fields = dataclasses.asdict(run.network.as_begun) | dict(facts.pretraining or {})
    refuse_others(given, own | fields)


def _repeatable_model(material: Material) -> keras.Model:
    """Build the model with everything random set by the seed, for this whole process."""
    keras.utils.set_random_seed(material.config.seed)
    tf.config.experimental.enable_op_determinism()
    return compiled_model(material)


def _complete(
    run: Run,
    material: Material,
    model: keras.Model,
    checkpoint_s: float,
    progress: Progress,
    until: int | None,
    ends: bool,
) -> Run:
    """Train what is left to train, evaluate, and end the run."""
    with attempt(run.folder):
        pin(run, material.store, progress)
        # Its graphs are traced once for the validation songs of every epoch and for the evaluation.
        scorer = SongScorer(model, material.labels.task)
        best_epoch = fit(run, material, model, scorer, checkpoint_s=checkpoint_s, progress=progress, until=until)
        if not ends:
            return run
        metrics = _judge(run, material, scorer, progress)
        log_results(run, metrics)
        run.finish(finished_at=now(), best_epoch=best_epoch)
        if is_there(run.folder.parent / CROSS_VALIDATION) or sweep_of(run.folder) is not None:
            # Folds and points do not go on to more epochs.
            (run.folder / checkpoints.NAME).unlink(missing_ok=True)
    if "test" in metrics:
        tell_held_out(run, progress)
    return run


def _judge(run: Run, material: Material, scorer: SongScorer, progress: Progress) -> dict[str, Any]:
    """Judge the weights that were kept; of a point of a sweep without its test songs."""
    config = material.config
    # A model in mixed precision is scored as it will be used: in float32.
    scored = run.allow_encoder(config.encoder).build_model() if config.mixed_precision else scorer.model
    load_weights(scored, run.weights_path, run.weights_fault)
    is_fold = is_there(run.folder.parent / CROSS_VALIDATION)
    trees = trees_of(material, is_fold=is_fold)
    scored = run.with_trees(scored, trees)
    if scored is not scorer.model:
        scorer = SongScorer(scored, scorer.task)
    decide(run, material, scorer, progress)
    if trees is not None:
        save_weights(scored, run.weights_path, trees.tensors())
    scorer, tested = scorer.by(run.facts.song_task), sweep_of(run.folder) is None
    # Costs make a network answer less often right, on purpose.
    has_floor = tested and not config.no_floor and not config.weighs_costs
    if has_floor and (floor := floor_of(material, progress, is_fold=is_fold, trees=trees)) is not None:
        run.keep_floor(floor)
    return judge_split(run, material.store, scorer, tested=tested).metrics


def tell_held_out(run: Run, progress: Progress) -> None:
    """Show how good a finished run is, and write its page."""
    held_out = run.metrics["test"]
    learners = held_out.get("learners", {})
    if learners:
        progress.note(members_line(held_out["song"]["accuracy"], learners))
    what = "networks and trees" if "trees" in learners else "the network"
    for line in floor_lines(held_out["song"]["accuracy"], held_out["floor"], what) if "floor" in held_out else []:
        progress.note(line)
    # A fold is no judgement of its own.
    is_fold = is_there(run.folder.parent / CROSS_VALIDATION)
    if not is_fold:
        notes = small_notes(held_out)
        hint = cross_validation_hint(held_out["song"]["n"], len(run.split().song_ids), bool(notes))
        for note in (*notes, *hint):
            progress.note(note)
    progress.note(
        f"held-out {headline(held_out['song'], held_out['intervals'])} over {counted(held_out['song']['n'], 'song')} "
        f"(single windows {held_out['window']['accuracy']:.2f}), weights of epoch {run.facts.best_epoch}: {run.folder}"
    )
    for line in leak_lines(held_out):
        progress.note(line)
    if not is_fold:
        add_page(run.folder, progress)
