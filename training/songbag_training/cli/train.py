"""The commands of training: `train`, `evaluate`, `predict`, and those of splits. Heavy imports happen inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from songbag_store.cli.declared import Given, with_options
from songbag_store.cli.options import CacheDir, CacheSize, StorageOption, open_store
from songbag_training.cli import apply as cli_prediction
from songbag_training.cli import evaluate as cli_evaluation
from songbag_training.cli import splits as cli_splits
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.splits import Group, SavedSplit
from songbag_training.config import TrainConfig

if TYPE_CHECKING:
    from songbag_training.fit.material import Material

commands = typer.Typer()

_MOSTLY_KNOWN_S = 0.5


@commands.command()
@with_options
def train(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")],
    label: Annotated[str, typer.Option(help="Column of the index that holds each song's class.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")],
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Train on the songs for which this holds.")] = None,
    split: SavedSplit = None,
    group: Group = None,
    snapshot: Annotated[int | None, typer.Option(min=0, help="Train on this snapshot instead of the newest.")] = None,
    *,
    config: Given[TrainConfig],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, which was interrupted, with its own options.")
    ] = False,
    storage_option: StorageOption = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = "50GB",
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    chosen = config.make()
    if resume:
        others = {"label": label, "where": where, "split": split, "group": group, "snapshot": snapshot}
        given = {name: value for name, value in others.items() if value not in (None, [])} | config.fields
        _resume(store, output, given, storage_option, cache_dir, cache_size)
        return
    from songbag_training.fit.material import prepare

    def prepared() -> Material:
        opened = open_store(store, storage_option, snapshot, cache_dir, cache_size)
        return prepare(opened, label, where, split, group=group or (), config=chosen)

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


def _resume(
    store: str,
    output: Path,
    given: dict[str, Any],
    storage_option: list[str] | None,
    cache_dir: Path | None,
    cache_size: str,
) -> None:
    """Go on with a run, after comparing the options that were given with its own."""
    from songbag_store.storage.options import parse_options
    from songbag_store.windows.cache import parse_size

    with quiet_start():
        from songbag_training.fit.contradictions import refuse_contradictions
        from songbag_training.fit.train import resume as run_resume
        from songbag_training.runs.run import Run
    refuse_contradictions(Run.open_unfinished(output), given)
    run_resume(
        output,
        store,
        encoder=given.get("encoder"),
        storage_options=parse_options(storage_option),
        cache_dir=cache_dir,
        cache_bytes=parse_size(cache_size),
    )


commands.command()(cli_splits.split)
commands.command("cross-validate")(cli_splits.cross_validate)
commands.command()(cli_evaluation.evaluate)
commands.command()(cli_prediction.predict)
commands.command()(cli_prediction.export)
