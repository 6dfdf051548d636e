"""Text for terminals: without what would steer one, and without letters that its encoding lacks."""

from __future__ import annotations

import io
import sys
import unicodedata
from typing import TextIO, cast

_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""What is printed without being seen, though Unicode counts it among the letters and marks."""


_LONGEST_MESSAGE = 500


def plain_text(text: str) -> str:
    """Return text on one line and without control characters: a file name must not control the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> str:
    """Return text of several lines without other control characters."""
    return "\n".join(map(plain_text, text.split("\n")))


def message_text(text: str) -> str:
    """Return what code from outside says, for a message or a row of the index: `plain_text` of at most 500 characters.

    It holds no half of a surrogate pair, which UTF-8 and so Parquet do not have. A longer text ends in ``...``.
    """
    shown = plain_text(text[: _LONGEST_MESSAGE + 1])
    return shown if len(shown) <= _LONGEST_MESSAGE else f"{shown[: _LONGEST_MESSAGE - 3]}..."


def is_invisible(character: str) -> bool:
    """Return whether a character shows nothing, as a zero-width space, a mark of direction or of an emoji's form."""
    is_form = "\ufe00" <= character <= "\ufe0f"
    return is_form or character in _BLANKS or unicodedata.category(character) in ("Cc", "Cf")


def plain_name(text: str, n_cells: int | None = None) -> str:
    """Return a name as `plain_text` does, also with escapes for spaces at its ends, and cut to a number of columns."""
    first, last = len(text) - len(text.lstrip(" ")), len(text.rstrip(" "))
    edges = "\\x20" * first, "\\x20" * (len(text) - last if last else 0)
    inner = "".join(ascii(c)[1:-1] if c in _BLANKS else c for c in text[first:last])
    shown = plain_text(inner).join(edges)
    return shown if n_cells is None or cells(shown) <= n_cells else fitted(shown, n_cells).rstrip()


def spelled(text: str, most: int = 40) -> str:
    """Return a name in quotes for a message, with escapes for all that does not look like what it is.

    A name that Unicode writes in another way as well, such as one with a composed accent, is in ASCII, so that two
    names that look the same can be told apart. The middle of a long one is left out.
    """
    if len(text) > most:
        text = f"{text[: most - 12]}...{text[-9:]}"
    if unicodedata.normalize("NFKC", text) != text:
        return ascii(text)
    return "".join(ascii(c)[1:-1] if is_invisible(c) and c.isprintable() else c for c in repr(text))


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for each letter of Chinese, none for an accent."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitted(text: str, n_cells: int, *, mark: str = "...", right: bool = False) -> str:
    """Return a text that takes a number of columns of a terminal: cut, with a mark, or padded."""
    if cells(text) > n_cells:
        from rich.cells import set_cell_size

        mark = mark[:n_cells]
        text = set_cell_size(text, n_cells - len(mark)) + mark
    padding = " " * (n_cells - cells(text))
    return padding + text if right else text + padding


def encodable(text: str, stream: TextIO) -> str:
    """Return text with escapes for what a stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(*lines: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print text for people to standard output, or to another stream."""
    stream = file or sys.stdout
    for line in lines:
        print(encodable(plain_lines(line), stream), file=stream, end=end, flush=True)


def lenient(stream: TextIO) -> TextIO:
    """Return a stream that writes to another one, with escapes for what that lacks."""
    return cast(TextIO, _Lenient(stream))


class _Lenient(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        return self._stream.write(encodable(text, self._stream))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()
