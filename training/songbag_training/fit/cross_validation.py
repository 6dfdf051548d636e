"""`cross_validate`: every fold is tested once, by a model trained on all other folds.

::

    cross-validation.json   what is validated, on what, and digests: `Plan`. The same command goes on with it
    split.parquet           song_id, label, part (the fold of each song), copy_group, same_audio
    fold-1/ fold-2/ ...     a run folder each, in the order of the folds
    metrics.json            of each fold, their mean and spread, and of all predictions together
    predictions.parquet     of each song by the model not trained on it: song_id, label, predicted, fold, p_<class>...
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.declaration import require_kind
from songbag_store.loading import quiet
from songbag_store.progress import Indented, Progress, shown_on
from songbag_store.storage.files import claim_folder, file_digest, is_there
from songbag_store.store import StoreLike
from songbag_store.words import counted
from songbag_training.config import CHOOSING, BaselineConfig, RunConfig, TrainConfig, is_plug_in
from songbag_training.fit.baselines.learner import learn_folds
from songbag_training.fit.material import check_thresholds
from songbag_training.fit.pooled import CrossValidation, sum_up
from songbag_training.lineage.parent import Parent, encoder_of
from songbag_training.runs.attempt import attempt
from songbag_training.runs.document import CROSS_VALIDATION
from songbag_training.runs.interruption import refuse_others, refuse_unfinished, telling, ways_on
from songbag_training.runs.plan import Plan, open_as_begun, sweep_of
from songbag_training.runs.run import RunLike
from songbag_training.songs.labels import Labels
from songbag_training.splits.copies import Copies
from songbag_training.splits.deal import Choice, carve_validation, choose_split
from songbag_training.splits.split import Split, SplitLike, check_trainable
from songbag_training.work import Cluster

if TYPE_CHECKING:
    from songbag_training.fit.trial import Trial

DEFAULT_FOLDS = 5

_DEFAULTS = TrainConfig()
_HERE = Cluster()
_SPLIT = "split.parquet"


def cross_validate(
    store: StoreLike,
    label: str,
    output: str | Path,
    config: RunConfig = _DEFAULTS,
    *,
    folds: int | None = None,
    fold_column: str | None = None,
    split: SplitLike | None = None,
    group: Sequence[str] = (),
    where: str | None = None,
    from_run: RunLike | None = None,
    cluster: Cluster = _HERE,
    progress: Progress | None = None,
) -> CrossValidation:
    """Train once for each fold, on all other folds, and test on this one.

    The tested fold chooses nothing: each training runs all epochs and keeps the last weights. With `early_stopping`,
    `calibrate`, `thresholds` or `monitor` in `config`, 15 % of the training songs validate instead.

    The folds share one reading of the store: windows that one fold has read stay in memory for the others, as stored,
    up to 1 GB, see `Cluster`. The rest is read again by each fold.

    The same call goes on where an earlier one was stopped, at the same snapshot: finished folds are not trained again,
    and an interrupted fold goes on after its last checkpoint.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    label : str
        Column of the index with the labels.
    output : str or pathlib.Path
        Folder of the cross-validation: new, empty, or left by the same call.
    config : TrainConfig or BaselineConfig
        How each fold is trained; the seed also makes the folds.
    folds : int, optional
        How many folds to make; by default 5.
    fold_column : str, optional
        Column of the index with the name of each song's fold.
    split : Split, str or pathlib.Path, optional
        Folds made beforehand.
    group : sequence of str, optional
        Columns of the index: songs with the same artist, album, ... stay in one fold.
    where : str, optional
        SQL expression over the index; only these songs are used.
    from_run : Run, str or pathlib.Path, optional
        A finished run with whose encoder each training begins, see `train`. It must stay there until all have begun.
    cluster : Cluster
        Where the folds are trained: in this process, by several on this machine, or by a Dask cluster. A worker process
        takes 1 to 2 GB, and has one fold at a time. It reads the store at its address.
        `Cluster.memory_bytes` of the store stay in memory.
    progress : Progress, optional
        As for `train`.

    Raises
    ------
    ClusterError
        If there is no worker that can train.
    LabelError
        If a class cannot be learned, or does not come into every training.
    LeakError, SplitMismatch
        If given folds do not fit the store.
    UsageError
        If the folder holds something else, or options contradict each other.
    """
    require_kind(config, "config", TrainConfig, BaselineConfig)
    progress, folder = progress or shown_on(sys.stdout), Path(output)
    refuse_unfinished(folder, store, but=CROSS_VALIDATION)
    _refuse_point(folder)
    with telling(folder, store, progress):
        begun = Plan.read(folder / CROSS_VALIDATION) if is_there(folder / CROSS_VALIDATION) else None
        opened = open_as_begun(store, begun).remembering(cluster.memory_bytes)
        parent = None if from_run is None else Parent.open(from_run)
        if isinstance(config, TrainConfig):
            encoder = encoder_of(parent, config, opened, resumed=False)
            config = dataclasses.replace(config.going_on(begun and begun.config), encoder=encoder)
        folds = DEFAULT_FOLDS if folds is None and fold_column is None and split is None else folds
        choice = choose_split(
            opened,
            label,
            where,
            split,
            folds=folds,
            fold_column=fold_column,
            group=group,
            seed=config.seed,
            as_folds=True,
            copies=Copies.saved(Split.read(folder / _SPLIT)) if begun else None,
            reading=config.reading,
            progress=progress,
        )
        labels, made = choice.labels, choice.split
        config = dataclasses.replace(config, **made.reading.to_dict())
        if isinstance(config, TrainConfig):
            config = config.settled(opened.spec, len(made.song_ids), members=parent.n_members if parent else None)
        check_thresholds(config, labels.task)
        trainings = [fold_split(made, name, labels, label, config) for name in made.names]
        plan = Plan(
            store_uuid=opened.uuid,
            snapshot=opened.snapshot,
            label=label,
            where=where,
            split_sha256=made.digest,
            folds=made.names,
            config=config,
            parent=parent.recorded if parent else None,
        )
        if isinstance(config, TrainConfig):
            _require_parts(config)
        _begin(folder, begun, plan, made, store)
        with attempt(folder):
            return _train_folds(folder, opened, plan, choice, trainings, cluster, progress)


def _require_parts(config: TrainConfig) -> None:
    """Refuse a log that is not installed, and own parts that cannot be loaded, before any work."""
    with quiet():  # they load TensorFlow, which a baseline does not need
        from songbag_training.parts.parts import load_callbacks
        from songbag_training.parts.tracking import require_log

    require_log(config)
    load_callbacks(config)


def _refuse_point(folder: Path) -> None:
    """Refuse a point of a sweep: its sweep goes on with it, and tests only the best."""
    if (sweep := sweep_of(folder)) is not None:
        remedy = "Go on with the sweep by its own command, or choose another `output`."
        raise UsageError(f"the folder is a point of the sweep in {sweep}", place=str(folder), remedy=remedy)


def _train_folds(
    folder: Path,
    store: SongStore,
    plan: Plan,
    choice: Choice,
    trainings: list[Split],
    cluster: Cluster,
    progress: Progress,
) -> CrossValidation:
    """Train and test each fold, and sum up."""
    labels, made = choice.labels, choice.split
    n_songs, n_classes = counted(len(made.song_ids), "song"), counted(len(labels.classes), "class")
    progress.note(f"{n_songs} of {n_classes} in {counted(len(trainings), 'fold')}")
    for note in choice.notes:
        progress.note(note)
    if isinstance(plan.config, BaselineConfig):
        learn_folds(folder, store, plan, labels, trainings, progress)
        return sum_up(folder, plan, choice, progress)
    with quiet():  # it loads TensorFlow, which a baseline does not need
        from songbag_training.fit.trials import There, workplace

    trials = fold_trials(plan, trainings)
    titles = {
        trial.folder: f"fold {number} of {len(trials)}, {name!r}"
        for number, (trial, name) in enumerate(zip(trials, plan.folds, strict=True), 1)
    }

    def begin(trial: Trial) -> Progress:
        progress.note(f"{titles[trial.folder]}:")
        return Indented(progress)

    with workplace(folder, store, cluster, trials, begin, progress) as place:
        for trial, error in place.run(trials):
            if error is not None:
                raise error
            if isinstance(place, There):
                progress.note(f"{titles[trial.folder]}: trained")
    return sum_up(folder, plan, choice, progress)


def fold_trials(plan: Plan, trainings: Sequence[Split], within: str = "") -> list[Trial]:
    """Return the training of each fold, in the order of the folds; `within` is the folder of the cross-validation."""
    from songbag_training.fit.trial import Trial

    return [
        Trial(
            folder=f"{within}fold-{number}",
            label=plan.label,
            where=plan.where,
            split=split,
            config=plan.network.as_begun,
            parent=plan.parent,
        )
        for number, split in enumerate(trainings, 1)
    ]


def resume_cross_validation(
    output: str | Path,
    store: StoreLike,
    *,
    encoder: str | None = None,
    optimizer: str | None = None,
    schedule: str | None = None,
    callbacks: Sequence[str] = (),
    cluster: Cluster = _HERE,
    progress: Progress | None = None,
) -> CrossValidation:
    """Go on with a cross-validation that was stopped, with its own label, songs, folds and options.

    Parameters
    ----------
    output : str or pathlib.Path
        Its folder.
    store : SongStore, Location, str or pathlib.Path
        The store that it was begun with.
    encoder : str, optional
        The name of its encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    optimizer, schedule, callbacks
        Their names, to allow them in the same way.
    cluster, progress
        As for `cross_validate`.

    Raises
    ------
    RunNotFound
        If no cross-validation was begun in this folder.
    UsageError
        If the store is another one, or code from outside songbag was not allowed.
    """
    plan = Plan.open(Path(output))
    own = plan.network.encoder
    if is_plug_in(own) and encoder != own:
        what = f"its encoder is {own!r}, code from outside songbag, which is not run unasked"
        raise UsageError(what, place=str(output), remedy=f"If you trust it, allow it by its name: `encoder='{own}'`.")
    with quiet():
        from songbag_training.parts.parts import Parts

    Parts(optimizer, schedule, tuple(callbacks)).require(plan.network, str(output))
    return cross_validate(
        store,
        plan.label,
        output,
        plan.network,
        split=Path(output) / _SPLIT,
        where=plan.where,
        from_run=Parent.again(plan.parent).folder if plan.parent else None,
        cluster=cluster,
        progress=progress,
    )


def refuse_contradictions(folder: Path, given: Mapping[str, Any]) -> None:
    """Refuse options that are not those of a cross-validation that is resumed; see `train.refuse_contradictions`."""
    plan = Plan.open(folder)
    own: dict[str, Any] = {"label": plan.label, "where": plan.where, "snapshot": plan.snapshot}
    own |= {"from_run": plan.parent["folder"] if plan.parent else None}
    own |= {"split": plan.split_sha256, "group": list(Split.read(folder / _SPLIT).group), "folds": len(plan.folds)}
    refuse_others(given, own | {"fold_column": "the folds of split.parquet"} | dataclasses.asdict(_options(plan)))


def _options(plan: Plan) -> RunConfig:
    """Return the options of a plan, as they were meant when it was begun."""
    return plan.config.as_begun if isinstance(plan.config, TrainConfig) else plan.config


def fold_split(
    split: Split, name: str, labels: Labels, label: str, config: RunConfig, *, validates: bool = False
) -> Split:
    """Return the split of one fold's training, with validation songs where something is to be chosen by them."""
    training = split.fold(name)
    check_trainable(training, labels.classes, label)
    chosen_by = any(map(config.chooses_by, CHOOSING))
    return carve_validation(training, labels, label, seed=config.seed) if validates or chosen_by else training


def _begin(folder: Path, begun: Plan | None, asked: Plan, split: Split, store: StoreLike) -> None:
    """Begin in a new folder, and refuse to go on with another cross-validation than the one that a folder holds."""
    if begun is None:
        claim_folder(folder)
        split.write(folder / _SPLIT)
        dataclasses.replace(asked, files={_SPLIT: file_digest(folder / _SPLIT)}).write(folder / CROSS_VALIDATION)
        return
    there = dataclasses.asdict(begun)
    seals = ("files", "replaced")
    if begun.parent and asked.parent:
        # The same run may lie elsewhere now.
        there["parent"]["folder"] = asked.parent["folder"]
    differing = [name for name, own in dataclasses.asdict(asked).items() if own != there[name] and name not in seals]
    if differing:
        what = f"the folder holds another cross-validation (it differs in {', '.join(differing)})"
        ways = "\n  ".join(ways_on(folder, store))
        remedy = f"Give the same options to go on with that one, or choose another `output`.\n  {ways}".rstrip()
        raise UsageError(what, place=str(folder), remedy=remedy)
