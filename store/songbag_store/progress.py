"""How a long function reports to its caller: `Progress`, and ways to show it."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from songbag_store.terminal import encodable, lenient, plain_lines, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress, TaskID

_NOTES_SHOWN = 10
_NOTEBOOK_S = 0.2
"""Least seconds between two pictures of a bar in a notebook."""


class Progress(Protocol):
    """An object that shows how far a function is. Pass one as ``progress=``.

    A stretch of work is `begin`, any number of `advance`, and `end`; `note` may come at any time.
    """

    def note(self, line: str) -> None:
        """Show a line of its own."""

    def begin(self, total: float | None, unit: str) -> None:
        """Start a stretch of so many songs or epochs; if `total` is None, `unit` says what is waited for."""

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Show how much of the stretch is done.

        Parameters
        ----------
        done : float
            How much of the total is done.
        state : str
            What to show beside a bar.
        line : str, optional
            What to show if only lines can be shown; None if no line is due.
        """

    def end(self) -> None:
        """End the stretch, finished or not."""


class Silent:
    """Shows nothing."""

    def note(self, line: str) -> None:
        """Drop the line."""

    def begin(self, total: float | None, unit: str) -> None:
        """Do nothing."""

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class Lines(Silent):
    """Shows plain lines.

    Parameters
    ----------
    write : callable
        Takes a line without its end.
    """

    def __init__(self, write: Callable[[str], object] = say) -> None:
        self._write = write

    def note(self, line: str) -> None:
        """Write the line."""
        self._write(line)

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Write the line, if one is due."""
        if line is not None:
            self._write(line)


class Bar(Lines):
    """Shows a bar on a terminal, one for each thread that has begun a stretch, and notes above them.

    Parameters
    ----------
    stream : text file
        The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(lambda line: say(line, file=stream))
        self._stream = stream
        self._bar: RichProgress | None = None
        self._lock = Lock()
        self._tasks: dict[int, TaskID] = {}

    def note(self, line: str) -> None:
        """Write the line above the bar."""
        bar = self._bar
        if bar is None:
            super().note(line)
        else:
            bar.console.print(plain_lines(line), highlight=False, markup=False, soft_wrap=True)

    def begin(self, total: float | None, unit: str) -> None:
        """Draw the bar."""
        with self._lock:
            if self._bar is None:
                self._bar = self._drawn()
            words = unit if total is None else f"{total:,.0f} {unit}"
            self._tasks[get_ident()] = self._bar.add_task(words, total=total)

    def _drawn(self) -> RichProgress:
        # rich takes 50 ms to load, and most uses of songbag draw no bar.
        from rich.console import Console

        spinner = "dots" if encodable("⠋", self._stream) == "⠋" else "line"
        bar = _bar(Console(file=lenient(self._stream)), spinner)
        bar.start()
        return bar

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Move the bar."""
        with self._lock:
            if self._bar is not None and (task := self._tasks.get(get_ident())) is not None:
                self._bar.update(task, completed=done, description=plain_lines(state))

    def end(self) -> None:
        """Remove the bar."""
        with self._lock:
            task = self._tasks.pop(get_ident(), None)
            if self._bar is not None and task is not None and self._tasks:
                self._bar.remove_task(task)
            elif self._bar is not None and not self._tasks:
                self._bar.stop()
                self._bar = None


class Notebook(Bar):
    """Shows a bar in a notebook, drawn again in its place, and notes as lines.

    Parameters
    ----------
    stream : text file
        Standard output or standard error of the notebook.
    """

    def note(self, line: str) -> None:
        """Write the line."""
        Lines.note(self, line)

    def begin(self, total: float | None, unit: str) -> None:
        """Draw the bar."""
        super().begin(total, unit)
        self._draw_again()

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Move the bar."""
        super().advance(done, state, line)
        if time.monotonic() >= self._next_s:
            self._draw_again()

    def end(self) -> None:
        """Remove the bar."""
        super().end()
        self._draw_again()

    def _drawn(self) -> RichProgress:
        from IPython.display import display
        from rich.console import Console

        # Its console is never written to: IPython draws the bar.
        bar = _bar(Console(file=io.StringIO()), "dots", auto_refresh=False)
        show: Any = display
        self._handle = show(bar, display_id=True)
        return bar

    def _draw_again(self) -> None:
        from rich.text import Text

        self._next_s = time.monotonic() + _NOTEBOOK_S
        self._handle.update(Text("") if self._bar is None else self._bar)


class Indented:
    """Shows the lines of a part of the work indented by two spaces.

    Parameters
    ----------
    whole : Progress
        Where the whole work is shown.
    """

    def __init__(self, whole: Progress) -> None:
        self._whole = whole
        self.begin, self.end = whole.begin, whole.end

    def note(self, line: str) -> None:
        """Indent the line."""
        self._whole.note(f"  {line}")

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Indent the line."""
        self._whole.advance(done, state, None if line is None else f"  {line}")


def _bar(console: Console, spinner: str, *, auto_refresh: bool = True) -> RichProgress:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    state = TextColumn("{task.description}", markup=False)
    columns = (SpinnerColumn(spinner), BarColumn(), state, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, auto_refresh=auto_refresh)


def _in_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ in ("ZMQInteractiveShell", "Shell")


def shown_on(stream: TextIO) -> Progress:
    """Return a bar if the stream is a terminal or belongs to a notebook, and plain lines if not."""
    if _in_notebook():
        return Notebook(stream)
    return Bar(stream) if stream.isatty() else Lines(lambda line: say(line, file=stream))


@contextmanager
def stretch(progress: Progress, total: float | None, unit: str) -> Iterator[None]:
    """Begin a stretch of work, and end it however the block ends."""
    progress.begin(total, unit)
    try:
        yield
    finally:
        progress.end()


def first_notes(texts: Sequence[str]) -> list[str]:
    """Return the first ten texts as notes, and one that counts the others."""
    lines = [f"note: {text}" for text in texts[:_NOTES_SHOWN]]
    if len(texts) > _NOTES_SHOWN:
        lines.append(f"note: {len(texts) - _NOTES_SHOWN} more like these")
    return lines
