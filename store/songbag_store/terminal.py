"""Text for terminals: without what would steer one, and without letters that its encoding lacks."""

from __future__ import annotations

import io
import sys
from typing import TextIO, cast


def plain_text(text: str) -> str:
    """Return text on one line and without control characters: a file name must not control the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def plain_lines(text: str) -> str:
    """Return text of several lines without other control characters."""
    return "\n".join(map(plain_text, text.split("\n")))


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
