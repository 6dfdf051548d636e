"""The commands `runs` and `compare`. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from songbag_store.cli.options import Form, Output
from songbag_store.terminal import plain_name, plain_text, say
from songbag_store.words import counted

_MOST_NOTES = 20


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that the runs are in.")],
    sort: Annotated[
        str | None, typer.Option(metavar="METRIC", help="A metric, best first; or when, or name. By default accuracy.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also folds, every metric and every setting.")] = False,
    form: Form = None,
    output: Output = None,
) -> None:
    """List every run and cross-validation below a folder: state, metrics, and the settings that differ."""
    from songbag_store.compat import arrow_without_pandas

    arrow_without_pandas()
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_training.comparison.listing import drawn, ordered, rows_of, table_of

    chosen = chosen_format(form, output)
    rows = ordered(rows_of(folder, every=every), sort)
    if chosen != "table":
        write_table(table_of(rows, every=every), chosen, output)
        return
    if not rows and output is None:
        say(f"No run and no cross-validation lies below {plain_name(str(folder))}.")
        return
    write_table(drawn(rows, every=every), chosen, output)
    noted = [row for row in rows if row.note]
    for row in noted[:_MOST_NOTES] if output is None else ():
        say(f"{plain_name(row.name)}: {row.state}, {plain_text(row.note)}")
    if len(noted) > _MOST_NOTES and output is None:
        say(f"... {counted(len(noted) - _MOST_NOTES, 'more note')}; --format csv gives all of them")


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Runs or cross-validations; two or more.")
    ],
    table: Annotated[
        Literal["metrics", "settings", "classes", "songs", "tests", "origins", "floors"] | None,
        typer.Option(help="Write this table alone; metrics with --format or -o."),
    ] = None,
    form: Form = None,
    output: Output = None,
) -> None:
    """Compare runs with the first one, on the songs that both tested: paired differences, and songs that flipped."""
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_training.comparison.compare import compare as run

    chosen = chosen_format(form, output)
    found = run(*folders)
    if table or form or output:
        write_table(found.tables[table or "metrics"], chosen, output)
    else:
        for name, one in found.tables.items():
            if one.num_rows:
                say(f"{name}:")
                write_table(one, "table", None)
                say("")
    for note in found.notes if not (form or output) else ():
        say(plain_text(note))
