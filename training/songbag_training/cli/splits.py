"""The commands `split` and `cross-validate`. Heavy imports happen in the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.declared import Given, with_options
from songbag_store.cli.options import At, Store, with_location
from songbag_training.cli.quiet import quiet_start
from songbag_training.config import TrainConfig

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


@with_location()
def split(
    store: Store,
    at: At,
    label: Label,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .parquet file, not there yet.")],
    group: Group = None,
    folds: Annotated[int | None, typer.Option(help="Folds, instead of train, validation and test.")] = None,
    fold_column: FoldColumn = None,
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
) -> None:
    """Divide the songs of a store once, and save who is where: for `train --split` and `cross-validate --split`."""
    from songbag_training.splits.division import split as run

    run(at(store), label, output, group=group or (), folds=folds, fold_column=fold_column, where=where, seed=seed)


@with_location(cache=True)
@with_options
def cross_validate(
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

    chosen = config.make()
    opened = SongStore.open(at(store))
    with quiet_start():
        from songbag_training.fit.cross_validation import cross_validate as run_cross_validation
    run_cross_validation(
        opened,
        label,
        output,
        folds=folds,
        fold_column=fold_column,
        split=split,
        group=group or (),
        where=where,
        config=chosen,
    )
