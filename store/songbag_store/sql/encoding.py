"""The encoding of a table that a user wrote, and what in it is no text."""

from __future__ import annotations

import codecs
from pathlib import Path

from songbag_store.errors import UsageError

CORRECT = "Correct the file; nothing was done yet."

_BLOCK_BYTES = 1 << 20
_SHOWN = 60
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def fault(path: Path, what: str, remedy: str = CORRECT) -> UsageError:
    """Return the error for a table that cannot be used."""
    return UsageError(what, place=str(path), remedy=remedy)


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text that begins with these bytes: UTF-16 or UTF-32 by its mark, or else UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")


def check_text(path: Path, encoding: str) -> bool:
    """Read a text file once, some at a time; return whether it holds a quotation mark.

    Raises
    ------
    UsageError
        If it is not text in this encoding, or holds a NUL character; with the line.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    quoted, n_lines = False, 1
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line = n_lines + _n_line_ends(error.object[: error.start].decode(encoding, "replace"))
                raise _undecodable(path, encoding, line, error) from error
            if "\0" in text:
                line = n_lines + _n_line_ends(text[: text.index("\0")])
                what = f"line {line} holds a NUL character; the file may be UTF-16 without its byte order mark"
                raise fault(path, what, _save_as_utf8("UTF-16LE"))
            quoted |= '"' in text
            n_lines += _n_line_ends(text)
            if not block:
                return quoted


def shown(text: str) -> str:
    """Return a text as a message quotes it: on one line, not too long."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _n_line_ends(text: str) -> int:
    """Count line feeds; in the text of an old Mac, which has none, count carriage returns."""
    return text.count("\n") or text.count("\r")


def _undecodable(path: Path, encoding: str, line: int, error: UnicodeDecodeError) -> UsageError:
    if encoding != "utf-8-sig":
        return fault(path, f"line {line} is not valid {encoding.upper()}", "Save it as UTF-8.")
    around = error.object[max(0, error.start - 20) : error.start + 20].decode("cp1252", "replace")
    word = next((part for part in around.splitlines() if not part.isascii()), around).strip()
    what = f"line {line} is not UTF-8 text; as Windows-1252 (Latin-1) it reads ...{shown(word)}..."
    return fault(path, what, _save_as_utf8("WINDOWS-1252"))


def _save_as_utf8(encoding: str) -> str:
    return f"Save it as UTF-8: iconv -f {encoding} -t UTF-8 FILE > NEWFILE"
