"""The commands on a run: `evaluate`, `predict`, `export`, `info`, `report`, `verify`. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Given, with_location, with_options
from songbag_store.cli.upkeep import Full, verify_store
from songbag_store.cli.wording import AsOptions
from songbag_store.progress import shown_on
from songbag_store.terminal import say
from songbag_store.words import counted
from songbag_training.cli.quiet import load_scoring, quiet_start
from songbag_training.config import ExportFormat
from songbag_training.work import PredictConfig

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Place = Annotated[
    str, typer.Argument(metavar="STORE|RUN", help="A store, or the folder of a run or of a cross-validation.")
]
PlugIn = Annotated[
    str | None,
    typer.Option(metavar="MODULE:FUNCTION", help="Of a run whose encoder is not songbag's own: its name, to allow it."),
]


@with_location(cache=True)
def evaluate(
    context: typer.Context,
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
    label_separator: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With -o: between the classes of a song, if not as at training.")
    ] = None,
    encoder: PlugIn = None,
) -> None:
    """Judge a run: metrics of songs and windows, intervals, the confusion matrix and the surest mistakes."""
    shown = AsOptions(shown_on(sys.stdout), context.command)
    from songbag_training.evaluation.display import format_confusion, format_judgement, format_metrics
    from songbag_training.runs.evaluate import evaluate as evaluate_run
    from songbag_training.runs.run import Run

    load_scoring(run, shown)
    opened = Run.open(run)
    place = at(store or opened.facts.store_location) if store or output is None else None
    result = evaluate_run(
        opened, place, output, label=label, label_separator=label_separator, encoder=encoder, progress=shown
    )
    say(format_metrics(result.metrics), end="\n\n")
    if opened.facts.thresholds or opened.facts.costs:
        say(f"predicted: {opened.facts.song_task.rule}", end="\n\n")
    if result.confusion is not None:
        say(format_confusion(result.confusion, opened.facts.classes), end="\n\n")
    say(format_judgement(result.metrics[result.judged]))


@with_location(cache=True)
@with_options
def predict(
    context: typer.Context,
    run: RunFolder,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A store, a folder or bucket of songs, a manifest or an audio file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .csv or .parquet file.")],
    at: At,
    windows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which seconds decided: a .csv or .parquet file with a row for each window."),
    ] = None,
    encoder: PlugIn = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="For audio, of a run on features of your own: their name, to allow it."
        ),
    ] = None,
    *,
    config: Given[PredictConfig],
) -> None:
    """Predict the class of each song of a store, or of audio that is in no store.

    Run it again after an interruption or a crash: what is predicted is not done again.
    """
    from songbag_training.apply.predict import predict as run_prediction

    shown = AsOptions(shown_on(sys.stderr), context.command)
    load_scoring(run)
    done = run_prediction(
        run,
        at(source),
        output,
        windows=windows,
        encoder=encoder,
        features=features,
        config=config.make(),
        progress=shown,
    )
    if done.n_songs - done.n_failed <= len(done.explanations):
        say(*done.explanations)
    for failure in done.failures:
        say(f"failed: {failure}")
    if done.n_known:
        say(f"{counted(done.n_known, 'song was', 'songs were')} predicted before.")
    failed = f", {done.n_failed} failed (see the column error)" if done.n_failed else ""
    say(f"{counted(done.n_songs - done.n_failed, 'song')} predicted{failed}: {output}")
    if done.n_failed == done.n_songs:
        raise typer.Exit(1)


def export(
    run: RunFolder,
    format: Annotated[ExportFormat, typer.Option("--format", help="For whom; onnx needs the extra of that name.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="File or folder, new; classes go into PATH.json.")
    ],
    encoder: PlugIn = None,
) -> None:
    """Write a run's model for other tools: as .keras, SavedModel, TFLite or ONNX."""
    with quiet_start():
        from songbag_training.apply.export import export as run_export

        run_export(run, format, output, encoder=encoder)
    say(f"{format} model: {output}; classes, features and shapes: {output}.json")


@with_location()
def info(place: Place, at: At, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what a store is: songs, windows, hours, classes, spec; or a run: label, model, songs, metrics, how made."""
    from songbag_store.compat import arrow_without_pandas

    arrow_without_pandas()
    import json

    from songbag_store.sql.output import lines_of
    from songbag_training.runs.summary import describe, info

    facts = info(at(place))
    say(json.dumps(facts, indent=1) if as_json else lines_of(describe(facts)))


@with_location()
def report(
    place: Annotated[
        list[str],
        typer.Argument(metavar="STORE|RUN [RUN...]", help="A store, a run or a cross-validation; or several runs."),
    ],
    at: At,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The .html file; by default report.html, a run's in its folder."
        ),
    ] = None,
    embed_audio: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of a run: put the audio of the first N songs into the page.")
    ] = 0,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Of a store: make its map by the song vectors of this run."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="Allow the run's encoder, if it is one of your own.")
    ] = None,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write the page of a store, a run or a cross-validation, or of several runs: one HTML file, without a network."""
    from songbag_training.apply.report import report as run_report

    path = run_report([at(one) for one in place], output, embed_audio=embed_audio, run=run, encoder=encoder, open=open)
    say(f"page: {path}")


@with_location()
def verify(
    place: Place,
    at: At,
    full: Full = False,
) -> None:
    """Check that everything is there and is what was written; name what is hit; exit 1 if anything is."""
    from songbag_store.upkeep.verify import report
    from songbag_training.runs.verification import remedy, sealed_folder, verify_folder

    location = at(place)
    folder = sealed_folder(location)
    if folder is None:
        verify_store(location, full)
        return
    verdict = verify_folder(folder)
    for line in verdict.in_words():
        say(line)
    if not verdict.damages:
        if verdict.n_files:
            say(f"{place} is whole: {counted(verdict.n_files, 'file')}, every byte checked.")
        return
    say(report(verdict.damages))
    say(f"{counted(len(verdict.damages), 'file')} damaged. {remedy(folder, verdict.damages)}")
    raise typer.Exit(1)
