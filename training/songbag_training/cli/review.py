"""The command `review`. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from songbag_store.cli.options import At, Form, Output, with_location
from songbag_store.cli.wording import AsOptions
from songbag_store.progress import shown_on
from songbag_store.terminal import plain_name, say
from songbag_store.words import counted
from songbag_training.cli.quiet import quiet_start
from songbag_training.cli.run import PlugIn

_STORE_HELP = "Of a run: the store with songs to label. Of a cross-validation: its store, if that was moved."
_K_HELP = "How many songs to list; by default 50 unlabelled ones, and every doubtful label."


@with_location(cache=True)
def review(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN|CV", help="Folder of a cross-validation or of a run.")],
    at: At,
    store: Annotated[str | None, typer.Argument(metavar="[STORE]", help=_STORE_HELP)] = None,
    k: Annotated[int | None, typer.Option("-k", "--k", help=_K_HELP)] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="List only songs for which this holds.")] = None,
    encoder: PlugIn = None,
    form: Form = None,
    output: Output = None,
) -> None:
    """List labels that are probably wrong, of a cross-validation; or songs to label next, of a run and a store.

    `relabel` takes the file as it is: CSV, JSON or Parquet.
    """
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_training.review.review import find_review, is_of_folds

    chosen = chosen_format(form, output)
    of_folds = is_of_folds(run)
    if store is not None and not of_folds:
        with quiet_start():
            import songbag_training.review.unlabelled  # noqa: F401 (loads TensorFlow)
    shown = AsOptions(shown_on(sys.stderr), context.command)
    place = None if store is None else at(store)
    table = find_review(run, place, k=k, where=where, encoder=encoder, flat=chosen == "csv", progress=shown)
    write_table(table, chosen, output)
    n = table.num_rows
    is_wrong = "is probably wrong" if n == 1 else "are probably wrong"
    said = f"{counted(n, 'label')} {is_wrong}" if of_folds else f"{counted(n, 'song')} to label next"
    if output is not None:
        say(f"{said}: {plain_name(str(output))}")
    elif not n:
        say(said, file=sys.stderr)
