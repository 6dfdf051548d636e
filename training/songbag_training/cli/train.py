"""The commands `train`, `split`, `cross-validate` and `sweep`. Heavy imports happen inside."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Annotated, Any

import typer

from songbag_store.cli.options import At, Command, Given, Store, expanded, with_location, with_options
from songbag_store.cli.wording import AsOptions
from songbag_store.errors import UsageError
from songbag_store.progress import shown_on
from songbag_store.storage.location import Location
from songbag_store.terminal import say
from songbag_store.words import counted
from songbag_training.cli.quiet import quiet_start
from songbag_training.config import AUTO, BaselineConfig, LabelConfig, PretrainConfig, TrainConfig
from songbag_training.runs.document import CROSS_VALIDATION
from songbag_training.runs.interruption import refuse_unfinished, telling
from songbag_training.search import Search
from songbag_training.work import Cluster, TeamConfig

_MOSTLY_KNOWN_S = 0.5
_SUITING = ("encoder", AUTO)

_LABEL_HELP = "Column of the index that holds each song's class, or a list of classes"
Label = Annotated[str, typer.Option(help=f"{_LABEL_HELP}.")]
LabelOfNew = Annotated[str | None, typer.Option(help=f"{_LABEL_HELP}; not needed with --resume.")]
Where = Annotated[str | None, typer.Option(metavar="SQL", help="Use only the songs for which this holds.")]
Group = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Keep songs with the same value on one side (artist, album); may be repeated."),
]
FoldColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The folds are given: each song's is in this column."),
]
FromRun = Annotated[
    Path | None,
    typer.Option("--from", metavar="RUN", help="Begin with the encoder of this finished run, on the same features."),
]
SavedSplit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A split that `songbag split` saved, instead of a new one.")
]


RunFolder = Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run in RUN, which was interrupted, with its own options; a finished one with more "
        "--epochs.",
    ),
]


def _dealt(
    folds: Annotated[int | None, typer.Option(help="How many folds to make.")] = None,
    fold_column: FoldColumn = None,
    split: SavedSplit = None,
    group: Group = None,
) -> dict[str, Any]:
    return {"folds": folds, "fold_column": fold_column, "split": split, "group": group or ()}


def with_folds(command: Command) -> Command:
    """Give a command, in the place of its parameter `dealt`, the options that say who is in which fold or part."""
    options = list(inspect.signature(_dealt, eval_str=True).parameters.values())
    return expanded(command, {"dealt": (options, _dealt)})


@with_location(cache=True)
@with_options
def train(
    context: typer.Context,
    store: Store,
    at: At,
    output: RunFolder,
    label: LabelOfNew = None,
    where: Where = None,
    split: SavedSplit = None,
    group: Group = None,
    from_run: FromRun = None,
    *,
    config: Given[TrainConfig],
    team: Given[TeamConfig],
    resume: Resume = False,
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    chosen, place, machines = config.make(), at(store), team.make()
    progress = AsOptions(shown_on(sys.stdout), context.command)
    if resume:
        own: dict[str, Any] = {"split": split, "group": group, "from_run": _absolute(from_run)}
        _go_on(output, place, given_options(place, config, label=label, where=where, **own), machines, progress)
        return
    column = _required(label)
    refuse_unfinished(output, place)
    from songbag_training.fit.material import prepare

    # Both take long: to load TensorFlow and to choose the songs of a large store. So they run at the same time. Most
    # mistakes in the command show within half a second, before TensorFlow loads.
    with ThreadPoolExecutor(1) as aside, telling(output, place, progress):
        options: dict[str, Any] = {"group": group or (), "config": chosen, "from_run": from_run, "progress": progress}
        preparing = aside.submit(prepare, place, column, where, split, **options)
        wait([preparing], timeout=_MOSTLY_KNOWN_S)
        if preparing.done():
            preparing.result()
        with quiet_start(progress):
            from songbag_training.fit.team import joined
            from songbag_training.fit.train import train_on
        joint = joined(machines)
        train_on(dataclasses.replace(preparing.result(), team=joint), output, progress)


def _go_on(output: Path, place: Location, given: dict[str, Any], machines: TeamConfig, progress: AsOptions) -> None:
    """Go on with a training; the options that were given must be those of its run."""
    with telling(output, place, progress):
        with quiet_start(progress):
            from songbag_training.fit.train import go_on, refuse_contradictions
            from songbag_training.parts.parts import Parts
            from songbag_training.runs.run import Run
        run = Run.open_unfinished(output)
        refuse_contradictions(run, given)
        allowed: dict[str, Any] = {"parts": Parts.of(given), "epochs": given.get("epochs"), "team": machines}
        go_on(run, place, given.get("encoder"), progress, **allowed)


def given_options(place: Location, config: Given[TrainConfig] | Given[PretrainConfig], **others: Any) -> dict[str, Any]:
    """Return the options that were given beside --resume, which must be those of what is resumed."""
    given = {**others, "snapshot": place.snapshot, **config.fields}
    given |= {name: tuple(given[name]) for name in ("callbacks",) if given.get(name)}
    # The encoder that suits the windows is the one that was chosen at the beginning.
    return {name: value for name, value in given.items() if value not in (None, [], ()) and (name, value) != _SUITING}


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _required(label: str | None) -> str:
    """Return the column of the labels, which only --resume can do without."""
    if label is None:
        remedy = "Name the column with the class of each song; only `resume` goes without."
        raise UsageError("is missing", place="label", remedy=remedy)
    return label


@with_location()
@with_options
def split(
    context: typer.Context,
    store: Store,
    at: At,
    label: Label,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .parquet file, not there yet.")],
    group: Group = None,
    folds: Annotated[int | None, typer.Option(help="Folds, instead of train, validation and test.")] = None,
    fold_column: FoldColumn = None,
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    *,
    reading: Given[LabelConfig],
) -> None:
    """Divide the songs of a store once, and save who is where: for `train --split` and `cross-validate --split`."""
    from songbag_training.splits.division import split as run

    run(
        at(store),
        label,
        output,
        group=group or (),
        folds=folds,
        fold_column=fold_column,
        where=where,
        seed=seed,
        progress=AsOptions(shown_on(sys.stdout), context.command),
        **reading.make().to_dict(),
    )


@with_location(cache=True)
@with_options
@with_folds
def cross_validate(
    context: typer.Context,
    store: Store,
    at: At,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty, or of the same command: it goes on.")
    ],
    label: LabelOfNew = None,
    *,
    dealt: dict[str, Any],
    where: Where = None,
    from_run: FromRun = None,
    config: Given[TrainConfig],
    cluster: Given[Cluster],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what is in DIR, which was interrupted, with its own options.")
    ] = False,
) -> None:
    """Train once for each fold, on all the others, and test on this one: mean, spread and every song's prediction."""
    from songbag_store import SongStore

    chosen, place, workers = config.make(), at(store), cluster.make()
    progress = AsOptions(shown_on(sys.stdout), context.command)
    column = "" if resume else _required(label)
    if not resume:
        refuse_unfinished(output, place, but=CROSS_VALIDATION)
    with telling(output, place, progress):
        opened = SongStore.open(place)
        with quiet_start(progress):
            from songbag_training.fit import cross_validation as run
        if resume:
            given = given_options(place, config, label=label, where=where, from_run=_absolute(from_run), **dealt)
            run.refuse_contradictions(output, given)
            allowed = {name: given[name] for name in ("encoder", "optimizer", "schedule", "callbacks") if name in given}
            run.resume_cross_validation(output, opened, cluster=workers, progress=progress, **allowed)
            return
        dealt |= {"where": where, "from_run": from_run}
        run.cross_validate(opened, column, output, chosen, cluster=workers, progress=progress, **dealt)


@with_location(cache=True)
@with_options
@with_folds
def sweep(
    context: typer.Context,
    store: Store,
    at: At,
    label: Label,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty, or of the same command: it goes on.")
    ],
    *,
    search: Given[Search],
    dealt: dict[str, Any],
    where: Where = None,
    from_run: FromRun = None,
    config: Given[TrainConfig],
    cluster: Given[Cluster],
) -> None:
    """Train once for each combination of values, or cross-validate; choose by validation songs; test the best alone.

    With folds each point is a cross-validation.
    """
    from songbag_store import SongStore
    from songbag_store.sql.output import write_table
    from songbag_training.comparison.listing import drawn, ordered, rows_of

    chosen, place, workers = config.make(), at(store), cluster.make()
    asked = search.make()
    progress = AsOptions(shown_on(sys.stdout), context.command)
    _refuse_both(asked, config)
    refuse_unfinished(output, place)
    with telling(output, place, progress):
        opened = SongStore.open(place)
        with quiet_start(progress):
            from songbag_training.sweeps.sweep import sweep as run
        dealt |= {"where": where, "from_run": from_run}
        done = run(opened, label, output, asked, chosen, cluster=workers, progress=progress, **dealt)
    write_table(drawn(ordered(rows_of(output, every=False), None), every=False), "table", None)
    failed = f", {done.n_failed:,} failed" if done.n_failed else ""
    say(f"{counted(done.n_points, 'point')} tried{failed}; tested is the best alone: {done.winner}")


def _refuse_both(search: Search, config: Given[TrainConfig]) -> None:
    """Refuse an option that is varied and given."""
    for text in search.set:
        name = text.partition("=")[0].strip().removeprefix("--").replace("-", "_")
        if name in config.fields:
            raise UsageError("is varied, and given as well", place=name, remedy="Leave out one of the two.")


@with_location(cache=True)
@with_options
@with_folds
def baseline(
    context: typer.Context,
    store: Store,
    at: At,
    label: Label,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, or of its folds."),
    ],
    where: Where = None,
    *,
    dealt: dict[str, Any],
    config: Given[BaselineConfig],
) -> None:
    """Fit a linear model and trees to summaries of songs, in seconds: the floor of every other run."""
    from songbag_training.fit.baselines.baseline import baseline as run

    progress = AsOptions(shown_on(sys.stdout), context.command)
    run(at(store), label, output, config.make(), where=where, progress=progress, **dealt)
