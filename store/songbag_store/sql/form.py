"""The form of a table that a user wrote, by its content; its suffix helps only where the content leaves it open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from songbag_store.errors import UsageError
from songbag_store.sql.encoding import encoding_of, fault
from songbag_store.storage.files import require_regular

Form = Literal["parquet", "lines", "delimited"]
"""Parquet; JSON objects, one on each line or in a list; CSV and its kin."""

TABLE_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tab", ".tsv"})
"""Suffixes of the forms of table that can be read."""

PACKED_SUFFIXES = frozenset(
    {".7z", ".br", ".bz2", ".cab", ".gz", ".lz", ".lz4", ".lzma", ".ods", ".rar", ".tar", ".tbz2", ".tgz", ".txz"}
    | {".xls", ".xlsx", ".xz", ".z", ".zip", ".zst"}
)
"""Suffixes of archives, of packed files, and of workbooks, which are archives too."""

PLAYLIST_SUFFIXES = frozenset(
    {".aimppl", ".aimppl4", ".asx", ".b4s", ".cue", ".fpl", ".m3u", ".m3u8", ".pla", ".pls", ".ram", ".smil", ".wax"}
    | {".wpl", ".wvx", ".xspf", ".zpl"}
)
"""Suffixes of playlists and cue sheets."""

_HEAD_BYTES = 1 << 12
_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}
_FIRST_OF_MANY = re.compile(r"\{[^\n]*[^}\s][ \t\r]*\n|\{\s*\n")  # an object that does not end in its first line
_OBJECTS = re.compile(r"\{|\[\s*\{")
_EMPTY_LIST = re.compile(r"\[\s*\]\s*")
_WORKBOOKS = {".ods", ".xls", ".xlsx", ".xlsm", ".numbers"}
_PACKED = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a file packed by gzip"),
    (b"\x1f\x9d", "a file packed by compress"),
    (b"BZh", "a file packed by bzip2"),
    (b"\xfd7zXZ\0", "a file packed by xz"),
    (b"\x28\xb5\x2f\xfd", "a file packed by zstd"),
    (b"\x04\x22\x4d\x18", "a file packed by lz4"),
    (b"LZIP", "a file packed by lzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"MSCF", "a cabinet archive"),
)
_TAR = slice(257, 262), b"ustar"
_PLAYLISTS = ("#extm3u", "[playlist]", "ffconcat version")
_MARKUP = ("<?xml", "<!doctype", "<html", "<asx", "<smil", "<?wpl", "<?zpl", "<playlist")
_GIVE_A_TABLE = "Give a table as CSV, TSV, JSON Lines (an object a line) or Parquet."


def form_of(path: Path) -> Form:
    """Return the form of a table.

    Raises
    ------
    UsageError
        If it is something else, with what to do: an archive, a playlist, another JSON document, no text, or no file.
    """
    head = refuse_packed(path)
    suffix = path.suffix.lower()
    if head.startswith(b"PAR1"):
        return "parquet"
    if suffix == ".parquet":
        raise fault(path, "its name says Parquet, but it is no Parquet file", _GIVE_A_TABLE)
    text = head.decode(encoding_of(head), errors="replace")
    start = text.lstrip("\ufeff \t\r\n")
    if "\0" in text and suffix not in TABLE_SUFFIXES:
        raise fault(path, "it is neither text nor Parquet, and so no table", _GIVE_A_TABLE)
    if suffix in PLAYLIST_SUFFIXES or start.lower().startswith(_PLAYLISTS):
        raise _playlist(path, suffix)
    if start.lower().startswith(_MARKUP):
        raise _playlist(path, suffix) if "<playlist" in start.lower() else _markup(path)
    if suffix in _JSON_SUFFIXES and _FIRST_OF_MANY.match(start):
        remedy = (
            "Write a list of objects, or one object a line, for instance with jq: jq -c '.songs[]' in.json > out.jsonl"
        )
        raise fault(path, "it is one JSON object, and a table has an object for each row", remedy)
    if _EMPTY_LIST.fullmatch(start):
        raise fault(path, "it is an empty list: no row is in it")
    return "lines" if _OBJECTS.match(start) or suffix in _JSON_SUFFIXES else "delimited"


def refuse_packed(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises
    ------
    UsageError
        If it is an archive or a packed file, empty, or cannot be read.
    """
    head, (where, mark), suffix = _head(path), _TAR, path.suffix.lower()
    found = "a tar archive" if head[where] == mark else None
    found = next((what for start, what in _PACKED if head.startswith(start)), found)
    if suffix in _WORKBOOKS:
        raise fault(path, "it is a workbook, and no table that is read here", "Save the sheet as CSV (UTF-8).")
    if found or suffix in PACKED_SUFFIXES:
        what = f"it is {found or 'a packed file, by its name'}, and packed files are not read"
        raise fault(path, what, "Unpack it, and give what was in it.")
    return head


def _head(path: Path) -> bytes:
    try:
        require_regular(path)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise fault(path, f"it cannot be read ({error.strerror or error})", "Check the path and its rights.") from error
    except ValueError as error:
        raise fault(path, str(error), "Write the table to a file first.") from error
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n"):
        raise fault(path, "it cannot be read: it is empty")
    return head


def _playlist(path: Path, suffix: str) -> UsageError:
    if suffix == ".cue":
        remedy = "Write its tracks into a table: path, start_s and end_s (in seconds), a row for each track."
        return fault(path, "it is a cue sheet, and no table of parts", remedy)
    remedy = "Write its files into a table: a CSV whose first line is path, then one file a line."
    return fault(path, "it is a playlist, which has no columns for labels", remedy)


def _markup(path: Path) -> UsageError:
    remedy = f"If it was downloaded, fetch it again: a page may stand in its place. {_GIVE_A_TABLE}"
    return fault(path, "it is a web page or other XML, and no table", remedy)
