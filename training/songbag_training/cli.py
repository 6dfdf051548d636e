"""The commands of training: `train`, `evaluate`, `predict`. Heavy imports happen in the commands."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, get_args

import typer

from songbag_store.cli_options import StorageOption
from songbag_training.config import EncoderName, PoolingName, TrainConfig

commands = typer.Typer()

_DEFAULT = TrainConfig()
_ENCODERS, _POOLINGS = " | ".join(get_args(EncoderName)), " | ".join(get_args(PoolingName))

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


@commands.command()
def train(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or s3://, gs://, az://.")],
    label: Annotated[str, typer.Option(help="Column of the index that holds each song's class.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="Folder of the run, new or empty.")],
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Train on the songs for which this holds.")] = None,
    snapshot: Annotated[int | None, typer.Option(min=0, help="Train on this snapshot instead of the newest.")] = None,
    encoder: Annotated[str, typer.Option(help=f"Network that looks at a window: {_ENCODERS}.")] = _DEFAULT.encoder,
    pooling: Annotated[str, typer.Option(help=f"How windows are joined to a song: {_POOLINGS}.")] = _DEFAULT.pooling,
    bag_size: Annotated[int, typer.Option(help="Windows of a song in one step.")] = _DEFAULT.bag_size,
    batch_size: Annotated[int, typer.Option(help="Songs in one step.")] = _DEFAULT.batch_size,
    epochs: Annotated[int, typer.Option(help="Passes over the training songs.")] = _DEFAULT.epochs,
    learning_rate: Annotated[float, typer.Option(help="Adam's, at the start.")] = _DEFAULT.learning_rate,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a lower validation loss.")
    ] = _DEFAULT.early_stopping,
    seed: Annotated[int, typer.Option(help="Of split, order, windows and weights.")] = _DEFAULT.seed,
    storage_option: StorageOption = None,
) -> None:
    """Train a song-level model from a store, and evaluate it on songs it has not seen."""
    config = TrainConfig(
        encoder=encoder,  # type: ignore[arg-type]  # TrainConfig refuses other names
        pooling=pooling,  # type: ignore[arg-type]
        bag_size=bag_size,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        early_stopping=early_stopping,
        seed=seed,
    )
    from songbag_store.object_options import parse_options
    from songbag_store.store import SongStore

    opened = SongStore.open(store, snapshot=snapshot, storage_options=parse_options(storage_option))
    with _quiet_start():
        from songbag_training.training import train as run_training
    run_training(opened, label, output, where=where, config=config)


@commands.command()
def evaluate(
    run: RunFolder,
    store: Annotated[
        str | None, typer.Argument(metavar="[STORE]", help="Where the store lies now, if not where it was.")
    ] = None,
) -> None:
    """Score every window of a run's songs again: metrics, and the confusion matrix of the test songs."""
    with _quiet_start():
        from songbag_training.evaluation import evaluate as run_evaluation
        from songbag_training.metrics import format_confusion, format_metrics
        from songbag_training.runs import Run
    opened = Run.open(run)
    result = run_evaluation(opened, store)
    print(format_metrics(result.metrics))
    print()
    print(format_confusion(result.confusion, opened.facts.classes))


@commands.command()
def predict(
    run: RunFolder,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A store, a folder, a manifest or an audio file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .csv or .parquet file.")],
) -> None:
    """Predict the class of each song of a store, or of audio that is in no store."""
    with _quiet_start():
        from songbag_training.prediction import predict as run_prediction
    table = run_prediction(run, source, output)
    n_failed = table["predicted"].null_count
    failed = f", {n_failed} failed (see the column error)" if n_failed else ""
    print(f"{table.num_rows - n_failed} songs predicted{failed}: {output}")


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep TensorFlow's messages about this machine from the terminal while it is loaded.

    They are written by native code before any setting of its log level counts; if loading fails they are shown.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
            _find_devices()
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _find_devices() -> None:
    """Have TensorFlow look for its devices now: it reports missing drivers when it does."""
    import tensorflow as tf

    tf.config.list_physical_devices()
