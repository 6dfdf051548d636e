"""The command `explain`. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Form, with_location
from songbag_store.terminal import say
from songbag_store.words import counted
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.run import PlugIn, RunFolder

_OUTPUT_HELP = "The deciding seconds as audio (.flac, .wav, .ogg, .mp3, .aiff), or their table (.csv, .json, .parquet)."
_STORE_HELP = "A store that has the song, if not the run's store where it was at the training."


@with_location(cache=True)
def explain(
    run: RunFolder,
    song: Annotated[str, typer.Argument(metavar="SONG", help="A song id, or an audio file that is in no store.")],
    at: At,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help=_OUTPUT_HELP)] = None,
    store: Annotated[str | None, typer.Option(metavar="STORE", help=_STORE_HELP)] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Explain this class, not what is predicted.")
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="X", help="The most that all pieces last together.")] = 30.0,
    encoder: PlugIn = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="For an audio file and features of your own: allow them."),
    ] = None,
    form: Form = None,
) -> None:
    """Show which seconds of a song decided its class, cut them from the audio, and say what would change the answer.

    Weights say which windows counted, not what caused the answer: so each window is also left out in turn.
    """
    from songbag_store.sql.output import chosen_format, write_table

    with quiet_start():
        from songbag_training.apply.explain import CLIP_SUFFIXES, explain as run_explanation
        from songbag_training.runs.run import Run
    opened = Run.open(run)
    is_clip = output is not None and output.suffix.lower() not in (".csv", ".json", ".parquet", ".txt")
    table = None if is_clip else output
    chosen = chosen_format(form, table)
    if is_clip and output is not None:
        from songbag_store.storage.files import require_output

        require_output(output, *CLIP_SUFFIXES)
    place = at(store or opened.facts.store_location)
    found = run_explanation(
        opened, song, store=place, class_name=class_name, seconds=seconds, encoder=encoder, features=features
    )
    talks = chosen == "table" or table is not None
    if talks:
        say(found.answer())
    write_table(found.table(arrow=True), chosen, table)
    if talks:
        say(*found.turning(), "A weight says how much a window counted; it is no cause.")
    if is_clip and output is not None:
        length_s = found.write_clip(output)
        say(f"{counted(len(found.pieces), 'piece')}, {length_s:.1f} s: {output}") if talks else None
