"""The commands of training: `train`, `evaluate`, `predict`, and those of splits. Heavy imports happen inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from songbag_store.cli.declared import Given, with_options
from songbag_store.cli.options import At, Store, with_location
from songbag_training.cli import apply as cli_prediction
from songbag_training.cli import evaluate as cli_evaluation
from songbag_training.cli import splits as cli_splits
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.splits import Group, SavedSplit
from songbag_training.config import TrainConfig

if TYPE_CHECKING:
    from songbag_store.storage.location import Location
    from songbag_training.fit.material import Material

commands = typer.Typer()

_MOSTLY_KNOWN_S = 0.5


@commands.command()
@with_location(cache=True)
@with_options
def train(
    store: Store,
    at: At,
    label: Annotated[str, typer.Option(help="Column of the index that holds each song's class.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")],
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Train on the songs for which this holds.")] = None,
    split: SavedSplit = None,
    group: Group = None,
    *,
    config: Given[TrainConfig],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, which was interrupted, with its own options.")
    ] = False,
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    chosen = config.make()
    if resume:
        others = {"label": label, "where": where, "split": split, "group": group, "snapshot": at(store).snapshot}
        given = {name: value for name, value in others.items() if value not in (None, [])} | config.fields
        _resume(at(store), output, given)
        return
    from songbag_training.fit.material import prepare

    def prepared() -> Material:
        return prepare(at(store), label, where, split, group=group or (), config=chosen)

    # TensorFlow takes as long to load as the songs of a large store to be looked at, so both are done at once; but what
    # is wrong with the command is mostly known at once, and then nobody should wait for TensorFlow.
    with ThreadPoolExecutor(1) as aside:
        preparing = aside.submit(prepared)
        wait([preparing], timeout=_MOSTLY_KNOWN_S)
        if preparing.done():
            preparing.result()
        with quiet_start():
            from songbag_training.fit.train import train_on
    train_on(preparing.result(), output, config=chosen)


def _resume(store: Location, output: Path, given: dict[str, Any]) -> None:
    """Go on with a run, after comparing the options that were given with its own."""
    with quiet_start():
        from songbag_training.fit.contradictions import refuse_contradictions
        from songbag_training.fit.train import resume as run_resume
        from songbag_training.runs.run import Run
    refuse_contradictions(Run.open_unfinished(output), given)
    run_resume(output, store, encoder=given.get("encoder"))


commands.command()(cli_splits.split)
commands.command("cross-validate")(cli_splits.cross_validate)
commands.command()(cli_evaluation.evaluate)
commands.command()(cli_prediction.predict)
commands.command()(cli_prediction.export)
