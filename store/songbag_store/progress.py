"""How a long function reports to its caller: `Progress`, and ways to show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from songbag_store.terminal import encodable, lenient, plain_lines, say

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_NOTES_SHOWN = 10


class Progress(Protocol):
    """An object that shows how far a function is. Pass one as ``progress=``.

    A stretch of work is `begin`, any number of `advance`, and `end`; `note` may come at any time.
    """

    def note(self, line: str) -> None:
        """Show a line of its own."""

    def begin(self, total: float, unit: str) -> None:
        """Start a stretch of so many songs or epochs."""

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

    def begin(self, total: float, unit: str) -> None:
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
    """Shows a bar on a terminal, and notes above it.

    Parameters
    ----------
    stream : text file
        The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(lambda line: say(line, file=stream))
        self._stream = stream
        self._bar: RichProgress | None = None

    def note(self, line: str) -> None:
        """Write the line above the bar."""
        if self._bar is None:
            super().note(line)
        else:
            self._bar.console.print(plain_lines(line), highlight=False, markup=False, soft_wrap=True)

    def begin(self, total: float, unit: str) -> None:
        """Draw the bar."""
        # rich takes 50 ms to load, and most uses of songbag draw no bar.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        state = TextColumn("{task.description}", markup=False)
        console = Console(file=lenient(self._stream))
        spinner = SpinnerColumn("dots" if encodable("⠋", self._stream) == "⠋" else "line")
        self._bar = Progress(spinner, BarColumn(), state, TimeRemainingColumn(), console=console, transient=True)
        self._task = self._bar.add_task(f"{total:,.0f} {unit}", total=total)
        self._bar.start()

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=plain_lines(state))

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


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


def shown_on(stream: TextIO) -> Progress:
    """Return a bar if the stream is a terminal, and plain lines if not."""
    return Bar(stream) if stream.isatty() else Lines(lambda line: say(line, file=stream))


@contextmanager
def stretch(progress: Progress, total: float, unit: str) -> Iterator[None]:
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
