"""The commands `train`, `split` and `cross-validate`. Heavy imports happen inside."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Given, Store, with_location, with_options
from songbag_store.cli.wording import AsOptions
from songbag_store.progress import shown_on
from songbag_training.cli.quiet import quiet_start
from songbag_training.config import LabelConfig, TrainConfig

_MOSTLY_KNOWN_S = 0.5

Label = Annotated[str, typer.Option(help="Column of the index that holds each song's class, or a list of classes.")]
Where = Annotated[str | None, typer.Option(metavar="SQL", help="Use only the songs for which this holds.")]
Group = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Keep songs with the same value on one side (artist, album); may be repeated."),
]
FoldColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The folds are given: each song's is in this column."),
]
SavedSplit = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A split that `songbag split` saved, instead of a new one.")
]


@with_location(cache=True)
@with_options
def train(
    context: typer.Context,
    store: Store,
    at: At,
    label: Label,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")],
    where: Where = None,
    split: SavedSplit = None,
    group: Group = None,
    *,
    config: Given[TrainConfig],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, which was interrupted, with its own options.")
    ] = False,
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    chosen, shown = config.make(), AsOptions(shown_on(sys.stdout), context.command)
    if resume:
        others = {"label": label, "where": where, "split": split, "group": group, "snapshot": at(store).snapshot}
        given = {name: value for name, value in others.items() if value not in (None, [])} | config.fields
        with quiet_start():
            from songbag_training.fit.train import refuse_contradictions, resume as run_resume
            from songbag_training.runs.run import Run
        refuse_contradictions(Run.open_unfinished(output), given)
        run_resume(output, at(store), encoder=given.get("encoder"), progress=shown)
        return
    from songbag_training.fit.material import prepare

    # Both take long: to load TensorFlow and to choose the songs of a large store. So they run at the same time. Most
    # mistakes in the command show within half a second, before TensorFlow loads.
    with ThreadPoolExecutor(1) as aside:
        preparing = aside.submit(
            prepare, at(store), label, where, split, group=group or (), config=chosen, progress=shown
        )
        wait([preparing], timeout=_MOSTLY_KNOWN_S)
        if preparing.done():
            preparing.result()
        with quiet_start():
            from songbag_training.fit.train import train_on
    train_on(preparing.result(), output, progress=shown)


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
def cross_validate(
    context: typer.Context,
    store: Store,
    at: At,
    label: Label,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty, or of the same command: it goes on.")
    ],
    folds: Annotated[int | None, typer.Option(help="How many folds to make; 5 by default.")] = None,
    fold_column: FoldColumn = None,
    split: SavedSplit = None,
    group: Group = None,
    where: Where = None,
    *,
    config: Given[TrainConfig],
) -> None:
    """Train once for each fold, on all the others, and test on this one: mean, spread and every song's prediction."""
    from songbag_store import SongStore

    chosen, shown = config.make(), AsOptions(shown_on(sys.stdout), context.command)
    opened = SongStore.open(at(store))
    with quiet_start():
        from songbag_training.fit.cross_validation import cross_validate as run_cross_validation
    run_cross_validation(
        opened,
        label,
        output,
        chosen,
        folds=folds,
        fold_column=fold_column,
        split=split,
        group=group or (),
        where=where,
        progress=shown,
    )
