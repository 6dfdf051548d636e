"""The commands of training: `train`, `evaluate`, `predict`, and those of splits. Heavy imports happen inside."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from songbag_store.cli.options import CacheDir, CacheSize, StorageOption, open_store
from songbag_training.cli import apply as cli_prediction
from songbag_training.cli import evaluate as cli_evaluation
from songbag_training.cli import splits as cli_splits
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.splits import Group, SavedSplit
from songbag_training.config import EncoderName, PoolingName, TrainConfig

if TYPE_CHECKING:
    from songbag_training.fit.material import Material

commands = typer.Typer()

_MOSTLY_KNOWN_S = 0.5
_DEFAULT = TrainConfig()
_OF_ANY_RUN = {"store", "output", "resume", "storage_option", "cache_dir", "cache_size"}
_PANEL = "How the training songs are changed (0 turns it off)"
_ENCODERS, _POOLINGS = " | ".join(get_args(EncoderName)), " | ".join(get_args(PoolingName))


@commands.command()
def train(
    context: typer.Context,
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")],
    label: Annotated[str, typer.Option(help="Column of the index that holds each song's class.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")],
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Train on the songs for which this holds.")] = None,
    split: SavedSplit = None,
    group: Group = None,
    snapshot: Annotated[int | None, typer.Option(min=0, help="Train on this snapshot instead of the newest.")] = None,
    encoder: Annotated[
        str, typer.Option(help=f"Network that looks at a window: {_ENCODERS}, or your own as module:function.")
    ] = _DEFAULT.encoder,
    pooling: Annotated[str, typer.Option(help=f"How windows are joined to a song: {_POOLINGS}.")] = _DEFAULT.pooling,
    bag_size: Annotated[int, typer.Option(help="Windows of a song in one step.")] = _DEFAULT.bag_size,
    batch_size: Annotated[int, typer.Option(help="Songs in one step.")] = _DEFAULT.batch_size,
    epochs: Annotated[int, typer.Option(help="Passes over the training songs.")] = _DEFAULT.epochs,
    learning_rate: Annotated[float, typer.Option(help="AdamW's, at its highest.")] = _DEFAULT.learning_rate,
    weight_decay: Annotated[float, typer.Option(help="AdamW's.")] = _DEFAULT.weight_decay,
    class_weight: Annotated[
        str, typer.Option(help="balanced: each class counts the same in the loss, however few its songs; or none.")
    ] = _DEFAULT.class_weight,
    label_smoothing: Annotated[
        float, typer.Option(help="Share of each target that is spread over all answers.")
    ] = _DEFAULT.label_smoothing,
    mixup: Annotated[
        float, typer.Option(help="Mix songs in pairs, labels too, by shares from Beta(X, X).", rich_help_panel=_PANEL)
    ] = _DEFAULT.mixup,
    gain_db: Annotated[
        float, typer.Option(help="Spread of the level of songs.", rich_help_panel=_PANEL)
    ] = _DEFAULT.gain_db,
    time_shift: Annotated[
        float, typer.Option(help="Roll the frames of a window, by up to this share.", rich_help_panel=_PANEL)
    ] = _DEFAULT.time_shift,
    time_mask: Annotated[
        float, typer.Option(help="Blank out frames of a window, up to this share.", rich_help_panel=_PANEL)
    ] = _DEFAULT.time_mask,
    band_mask: Annotated[
        float, typer.Option(help="Blank out bands of a window, up to this share.", rich_help_panel=_PANEL)
    ] = _DEFAULT.band_mask,
    window_dropout: Annotated[
        float, typer.Option(help="Leave out this share of a bag's windows.", rich_help_panel=_PANEL)
    ] = _DEFAULT.window_dropout,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")
    ] = _DEFAULT.early_stopping,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Make the probabilities honest by the validation songs, at the end.")
    ] = _DEFAULT.calibrate,
    seed: Annotated[int, typer.Option(help="Of split, order, windows and weights.")] = _DEFAULT.seed,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Compute in float16, for GPUs with tensor cores.")
    ] = _DEFAULT.mixed_precision,
    steps_per_execution: Annotated[
        int, typer.Option(help="Steps that TensorFlow takes before Python looks again.")
    ] = _DEFAULT.steps_per_execution,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the history as event files, into RUN/tensorboard.")
    ] = _DEFAULT.tensorboard,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, which was interrupted, with its own options.")
    ] = False,
    storage_option: StorageOption = None,
    cache_dir: CacheDir = None,
    cache_size: CacheSize = "50GB",
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    config = TrainConfig(**{field.name: context.params[field.name] for field in dataclasses.fields(TrainConfig)})
    if resume:
        _resume(store, output, _given(context), storage_option, cache_dir, cache_size)
        return
    from songbag_training.fit.material import prepare

    def prepared() -> Material:
        opened = open_store(store, storage_option, snapshot, cache_dir, cache_size)
        return prepare(opened, label, where, split, group=group or (), config=config)

    # TensorFlow takes as long to load as the songs of a large store to be looked at, so both are done at once; but what
    # is wrong with the command is mostly known at once, and then nobody should wait for TensorFlow.
    with ThreadPoolExecutor(1) as aside:
        preparing = aside.submit(prepared)
        wait([preparing], timeout=_MOSTLY_KNOWN_S)
        if preparing.done():
            preparing.result()
        with quiet_start():
            from songbag_training.fit.train import train_on
    train_on(preparing.result(), output, config=config)


def _given(context: typer.Context) -> dict[str, Any]:
    """Return the options that stand on the command line, without those that hold for any run."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    return {name: context.params[name] for name in given - _OF_ANY_RUN}


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
commands.command("cross-validate")(cli_splits.like_a_training(cli_splits.cross_validate, train))


commands.command()(cli_evaluation.evaluate)
commands.command()(cli_prediction.predict)
commands.command()(cli_prediction.export)
