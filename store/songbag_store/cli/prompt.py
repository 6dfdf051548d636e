"""The prompt of `songbag query STORE`: SQL from a terminal, with a history, or from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from songbag_store.errors import SongbagError, UsageError
from songbag_store.stop import interruptible
from songbag_store.terminal import say

_FIRST, _MORE = "songbag> ", "    ...> "
_ENDS = ("exit", "quit", "\\q")
_KEPT_LINES = 1000
_LONGEST = 10_000_000
_WORDS = ("select", "from", "where", "group by", "order by", "describe", "summarize", "songs", "failures", '"index"')


def sql_from_input() -> str:
    """Return the SQL that comes through standard input, if that is no terminal.

    Raises
    ------
    UsageError
        If there is none, or too much.
    """
    try:
        text = sys.stdin.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"standard input cannot be read ({error})", place="sql") from error
    if not text.strip():
        raise UsageError("is missing, and standard input is empty", place="sql", remedy=_give_one())
    if len(text) > _LONGEST:
        raise UsageError(f"is longer than {_LONGEST:,} letters", place="sql")
    return text


def _give_one() -> str:
    return "Give it behind the store, in quotes, or pipe it in; on a terminal there is a prompt without it."


def answer_prompt(ask: Callable[[str], None], columns: Sequence[str]) -> None:
    """Read statements from the terminal until Ctrl-D, and answer each; an error or Ctrl-C keeps the prompt open.

    Parameters
    ----------
    ask : callable
        Answers one statement.
    columns : sequence of str
        Names that the tabulator completes, besides words of SQL.
    """
    say('End a query with ; or an empty line. "describe songs" lists the columns; Ctrl-D ends.', file=sys.stderr)
    with _history(), _completion([*_WORDS, *columns]), interruptible():
        while True:
            try:
                statement = _statement()
                if statement is None:
                    return
                if statement:
                    ask(statement)
            except KeyboardInterrupt:
                print(file=sys.stderr)
            except SongbagError as error:
                say(f"songbag: {error}", file=sys.stderr)


def _statement() -> str | None:
    """Read one statement; None at the end of the input."""
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _FIRST)
        except EOFError:
            print(file=sys.stderr)
            return None
        if not lines and line.strip().rstrip(";").lower() in _ENDS:
            return None
        lines.append(line)
        if not line.strip() or line.rstrip().endswith(";"):
            return "\n".join(lines).strip().rstrip(";").strip()


@contextmanager
def _history() -> Iterator[None]:
    """Keep the lines of earlier prompts in a file of this user alone, where there is readline."""
    try:
        import readline
    except ImportError:  # a Python built without it: there are no arrow keys then
        yield
        return
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "songbag"
    file = folder / "queries"
    with suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(_KEPT_LINES)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(file)


@contextmanager
def _completion(words: Sequence[str]) -> Iterator[None]:
    """Complete words by the tabulator, where there is readline."""
    try:
        import readline
    except ImportError:
        yield
        return

    def complete(begun: str, number: int) -> str | None:
        found = [word for word in words if word.lower().startswith(begun.lower())] if begun else []
        return found[number] if number < len(found) else None

    before, breaks = readline.get_completer(), readline.get_completer_delims()
    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n(),;=<>")
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_completer_delims(breaks)
