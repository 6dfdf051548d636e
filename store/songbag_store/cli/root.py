"""The `songbag` command: its root, the commands that only read a store, and how errors are shown.

Heavy modules are imported inside the commands, so that ``songbag --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from songbag_store.cli import upkeep as cli_store
from songbag_store.cli.options import At, Store, with_location
from songbag_store.cli.wording import as_options, option_names
from songbag_store.errors import MissingExtra, SongbagError
from songbag_store.stop import StopRequest
from songbag_store.terminal import say

Sql = Annotated[str, typer.Argument(metavar="SQL", help='One SELECT over songs, failures or "index".')]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")]
_FORM_HELP = "How to write the result, if the suffix of -o does not say it (.csv, .json, .parquet, .txt for a table)."
Form = Annotated[Literal["table", "csv", "json", "parquet"] | None, typer.Option("--format", help=_FORM_HELP)]

app = typer.Typer(
    name="songbag",
    help="Decode a music collection once; query it and train song-level models from it as often as wanted.",
    epilog="Any command: --debug shows the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
@with_location()
def info(store: Store, at: At, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what is in a store: songs, windows, hours, bytes, classes, spec and snapshots."""
    import json

    from songbag_store.sql.output import lines_of
    from songbag_store.store import SongStore
    from songbag_store.upkeep.summary import describe, info

    facts = info(SongStore.open(at(store)))
    say(json.dumps(facts, indent=1) if as_json else lines_of(describe(facts)))


@app.command()
@with_location()
def query(store: Store, at: At, sql: Sql, form: Form = None, output: Output = None) -> None:
    """Ask the index a question in SQL (DuckDB's dialect, read-only)."""
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_store.sql.query import asking
    from songbag_store.store import SongStore

    chosen = chosen_format(form, output)
    with asking(SongStore.open(at(store)).inside.state.content.dataset(), sql) as answer:
        write_table(answer, chosen, output)


@app.command()
@with_location()
def failures(store: Store, at: At) -> None:
    """List the songs that failed, why, and what to do about each; and those with a note, or lost in the mix to mono."""
    from songbag_store.store import SongStore
    from songbag_store.upkeep.notes import noted_songs_text
    from songbag_store.upkeep.sound import lost_songs_text
    from songbag_store.upkeep.summary import failures as run, failures_text

    opened = SongStore.open(at(store))
    # The remedies name options of `extract`.
    say(as_options(failures_text(run(opened, arrow=True)), _options_of("extract")))
    for text_of in (lost_songs_text, noted_songs_text):
        if text := text_of(opened.inside.state.content):
            say(text)


@app.command()
@with_location(cache=True)
def copies(store: Store, at: At, form: Form = None, output: Output = None) -> None:
    """List the songs that are there more than once, by their bytes or their features; no audio is read."""
    from songbag_store.likeness.copies import copies_text, find_copies
    from songbag_store.progress import shown_on
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_store.store import SongStore

    chosen = chosen_format(form, output)
    table = find_copies(SongStore.open(at(store)), progress=shown_on(sys.stderr))
    if chosen != "table" or output is not None or table.num_rows:
        write_table(table, chosen, output)
    say(copies_text(table), file=sys.stderr)


@app.command()
@with_location(snapshot=False)
def diff(
    store: Store,
    at: At,
    before: Annotated[int, typer.Option("--from", metavar="N", help="The earlier snapshot, by its number.")],
    after: Annotated[int | None, typer.Option("--to", metavar="M", help="The later; by default the newest.")] = None,
    form: Form = None,
    output: Output = None,
) -> None:
    """List what changed between two snapshots: songs added, removed, failed, computed anew, relabelled."""
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_store.store import SongStore
    from songbag_store.upkeep.difference import diff as run, diff_text

    chosen, opened = chosen_format(form, output), SongStore.open(at(store))
    after = opened.snapshot if after is None else after
    table = run(opened, before, after, arrow=True)
    if chosen != "table" or output is not None or table.num_rows:
        write_table(table, chosen, output)
    say(diff_text(table, before, after), file=sys.stderr)


app.add_typer(cli_store.commands)


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 could not do its job, 2 wrong usage, 130 or 143 stopped by a signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with StopRequest(_answer, lambda number: sys.exit(128 + number)):
        _run([argument for argument in sys.argv[1:] if argument != "--debug"], "--debug" in sys.argv)
    sys.exit(0)


def _run(arguments: list[str], debug: bool) -> None:
    extras = _add_commands()
    try:
        app(arguments, prog_name="songbag")
    except BrokenPipeError:
        # The reader of the output has gone. Python would report that once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a panic of a native library is no Exception
        extra = next((extras[word] for word in arguments if word in extras), None)
        lacking = getattr(error, "name", None) or "songbag_"
        if extra and isinstance(error, ModuleNotFoundError) and not lacking.startswith("songbag_"):
            error = MissingExtra(extra, lacking, place=f"songbag {arguments[0]}")
        _report(error, debug)
        sys.exit(getattr(error, "exit_code", 1))


def _answer(line: str) -> None:
    say(f"songbag {_command()}: {line}. What is finished is kept.", file=sys.stderr)


def _command() -> str:
    """Return the command that was given."""
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def _add_commands() -> dict[str, str]:
    """Add the commands of the other packages, once in a process; return the extra that each command needs."""
    extras = {}
    for entry in metadata.entry_points(group="songbag.commands"):
        try:
            commands = entry.load()
        except Exception as error:  # the other packages' commands still work
            say(f"songbag: the commands of {entry.value} cannot be loaded ({error})", file=sys.stderr)
            continue
        if all(group.typer_instance is not commands for group in app.registered_groups):
            app.add_typer(commands)
        for command in commands.registered_commands:
            extras[command.name or command.callback.__name__.replace("_", "-")] = entry.name
    return extras


def _options_of(command: str) -> dict[str, str]:
    """Return the options of a command by their Python names; nothing if there is no such command."""
    found = getattr(typer.main.get_command(app), "commands", {}).get(command)
    return {} if found is None else option_names(found)


def _report(error: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, SongbagError):
        # The message names Python's arguments; the user knows the options of the command.
        names = _options_of(_command())
        error.place = names.get(error.place, error.place)
        say(f"songbag: {as_options(str(error), names)}", file=sys.stderr)
    else:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        say(f"songbag: unexpected error ({reason}).\n  Run again with --debug and report it.", file=sys.stderr)
