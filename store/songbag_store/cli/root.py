"""The `songbag` command: its root, the commands that only read a store, and how errors are shown.

Heavy modules are imported inside the commands, so that ``songbag --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from songbag_store import __version__
from songbag_store.cli import upkeep as cli_store
from songbag_store.cli.guide import Guided
from songbag_store.cli.options import At, Form, Output, Store, chosen_writer, with_location
from songbag_store.cli.usage import in_plain_words
from songbag_store.cli.wording import as_options, option_names
from songbag_store.errors import MissingExtra, SongbagError, UsageError
from songbag_store.stop import StopRequest
from songbag_store.terminal import say

Sql = Annotated[
    str | None,
    typer.Argument(metavar="[SQL]", help='One SELECT over songs, failures, window_labels or "index"; none: a prompt.'),
]

app = typer.Typer(
    name="songbag",
    cls=Guided,
    help="Decode a music collection once; query it and train song-level models from it as often as wanted.",
    epilog="songbag COMMAND --help shows its options and an example; --debug the traceback of an error.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        say(f"songbag {__version__}")
        raise typer.Exit


@app.callback()
def options_of_the_root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Take the options that are given before a command."""


@app.command()
@with_location()
def query(store: Store, at: At, sql: Sql = None, form: Form = None, output: Output = None) -> None:
    """Ask the index a question in SQL (DuckDB's dialect, read-only).

    Without SQL there is a prompt on a terminal; else it is read from standard input.
    """
    from songbag_store.compat import arrow_without_pandas

    arrow_without_pandas()
    from songbag_store.cli.prompt import answer_prompt, sql_from_input
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_store.sql.query import asking
    from songbag_store.store import SongStore

    store, sql = _in_order(store, sql)
    chosen, asked = chosen_format(form, output), sql
    if asked is None and not sys.stdin.isatty():
        asked = sql_from_input()
    if asked is None and output is not None:
        raise UsageError("needs the SQL on the command line", place="output", remedy="Or leave it out at the prompt.")
    opened = SongStore.open(at(store))
    content = opened.inside.state.content

    def ask(text: str) -> None:
        with asking(content.dataset(), text, spec=opened.spec) as answer:
            write_table(answer, chosen, output)

    if asked is None:
        answer_prompt(ask, content.schema.names)
    else:
        ask(asked)


def _in_order(store: str, sql: str | None) -> tuple[str, str | None]:
    """Return the store and the SQL of a query, also if they were given in the other order."""
    from songbag_store.sql.query import is_statement

    if not is_statement(store) or Path(store).exists():
        return store, sql
    if sql is None:
        raise UsageError(
            "is missing", place="store", remedy=f"It comes before the SQL: songbag query STORE {shlex.quote(store)}"
        )
    if is_statement(sql):
        raise UsageError(
            "is SQL, as the second argument is", place="store", remedy="Give the store first, then one SQL."
        )
    say("note: the SQL stands before the store; it is read as songbag query STORE SQL", file=sys.stderr)
    return sql, store


@app.command()
@with_location()
def failures(store: Store, at: At, form: Form = None, output: Output = None) -> None:
    """List the songs that failed, why, and what to do about each; and those with a note, or lost in the mix to mono."""
    from songbag_store.compat import arrow_without_pandas

    arrow_without_pandas()
    from songbag_store.store import SongStore
    from songbag_store.upkeep.notes import noted_songs_text
    from songbag_store.upkeep.sound import lost_songs_text
    from songbag_store.upkeep.summary import failures as run, failures_text

    write = chosen_writer(form, output)
    opened = SongStore.open(at(store))
    table, names = run(opened, arrow=True), _options_of("extract")
    # The remedies name options of `extract`.
    remedies = [as_options(remedy, names) for remedy in table["remedy"].to_pylist()]
    table = table.set_column(table.column_names.index("remedy"), "remedy", [remedies])
    if write is not None:
        write(table)
        return
    say(failures_text(table))
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
    """List what changed between two snapshots: songs added, removed, failed, computed again, relabelled."""
    from songbag_store.sql.output import chosen_format, write_table
    from songbag_store.store import SongStore
    from songbag_store.upkeep.difference import diff as run, diff_text

    chosen, opened = chosen_format(form, output), SongStore.open(at(store))
    after = opened.snapshot if after is None else after
    table = run(opened, before, after, arrow=True)
    if chosen != "table" or output is not None or table.num_rows:
        write_table(table, chosen, output)
    say(diff_text(table, before, after), file=sys.stderr)


@app.command()
def doctor(form: Form = None, output: Output = None) -> None:
    """Show what this installation can do: decoders, devices, storage. It is a text for a bug report, without secrets.

    Exit 1 if something that is installed does not work.
    """
    from songbag_store.doctor import as_table, findings, in_words

    if form is None and output is None:
        say(in_words(found := list(findings())))
    else:
        from songbag_store.sql.output import chosen_format, write_table

        chosen = chosen_format(form, output)
        write_table(as_table(found := list(findings())), chosen, output)
    if any(one.state == "wrong" for one in found):
        raise typer.Exit(1)


app.add_typer(cli_store.commands)


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 could not do its job, 2 wrong usage, 130 or 143 stopped by a signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with StopRequest(_answer, lambda number: sys.exit(128 + number)):
        _run([argument for argument in sys.argv[1:] if argument != "--debug"], "--debug" in sys.argv)


def _run(arguments: list[str], debug: bool) -> NoReturn:
    extras = _add_commands()
    try:
        code = app(arguments or ["--help"], prog_name="songbag", standalone_mode=False)
    except BrokenPipeError:
        # The reader of the output has gone. Python would report that once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (SystemExit, KeyboardInterrupt):
        raise
    except typer.Abort:
        sys.exit(1)
    except typer.TyperException as error:
        _report(in_plain_words(error), debug)
        sys.exit(2)
    except BaseException as error:  # a panic of a native library is no Exception
        extra = next((extras[word] for word in arguments if word in extras), None)
        lacking = getattr(error, "name", None) or "songbag_"
        if extra and isinstance(error, ModuleNotFoundError) and not lacking.startswith("songbag_"):
            error = MissingExtra(extra, lacking, place=f"songbag {arguments[0]}")
        _report(error, debug)
        sys.exit(getattr(error, "exit_code", 1))
    # What a command returns is nothing; a number is the code that it ended with.
    sys.exit(code if isinstance(code, int) else 0)


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
