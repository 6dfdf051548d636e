"""The command `evaluate`. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, with_location
from songbag_training.cli.apply import PlugIn, RunFolder
from songbag_training.cli.quiet import quiet_start


@with_location(cache=True)
def evaluate(
    run: RunFolder,
    at: At,
    store: Annotated[
        str | None,
        typer.Argument(metavar="[STORE]", help="Where the run's store lies now, if not where it was; or another one."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Judge by all labelled songs of STORE, results go here."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="With -o: the column of the labels, if not as at training.")] = None,
    encoder: PlugIn = None,
) -> None:
    """Judge a run: metrics of songs and windows, intervals, the confusion matrix and the surest mistakes."""
    with quiet_start():
        from songbag_training.evaluation.display import format_confusion, format_judgement, format_metrics
        from songbag_training.runs.evaluate import evaluate as evaluate_run
        from songbag_training.runs.run import Run
    opened = Run.open(run)
    place = at(store or opened.facts.store_location) if store or output is None else None
    result = evaluate_run(opened, place, output, label=label, encoder=encoder)
    print(format_metrics(result.metrics))
    print()
    if result.confusion is not None:
        print(format_confusion(result.confusion, opened.facts.classes))
        print()
    print(format_judgement(result.metrics[result.judged]))
