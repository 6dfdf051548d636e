"""Reading the JSON documents of a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from songbag_store.format.document import T, parse_document, read_fields, reason, require
from songbag_store.storage.files import read_bounded
from songbag_training.errors import DamagedRun, NewerRun, RunError

FORMAT = 1
"""Number of the layout of every document with a field `format`."""

RUN = "run.json"
"""The document of a run."""

CROSS_VALIDATION = "cross-validation.json"
"""The document of a cross-validation."""

SWEEP = "sweep.json"
"""The document of a sweep."""

_LARGEST_BYTES = 32 * 2**20


def parse_run_document(cls: type[T], data: bytes) -> T:
    """Return a document as a dataclass; its seal and its format are checked before its other fields.

    Raises
    ------
    ValueError
        If its seal is broken, or a field is unknown, missing, of another type or out of its range: the message says
        which.
    NewerRun
        If it is of another format.
    """
    return read_fields(cls, parse_known(data))


def parse_known(data: bytes) -> dict[str, Any]:
    """Return the fields of a document, after checking its seal and its format; see `parse_run_document`."""
    document = parse_document(data)
    number = document.get("format")
    require(type(number) is int and number >= 1, "format", number, "a whole number from 1")
    if number != FORMAT:
        what = f"the document is of format {number}; this songbag knows format {FORMAT}"
        raise NewerRun(what, remedy="Upgrade with: pip install --upgrade songbag")
    return document


def read_run_document(path: Path, parse: Callable[[bytes], T], remedy: str) -> T:
    """Read a file of a run folder that holds a JSON document.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If it is not there.
    NewerRun
        If it is of another format.
    DamagedRun
        If it is not what songbag wrote.
    RunError
        If it cannot be read.
    """
    try:
        return parse(read_bounded(path, _LARGEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except RunError as error:
        error.place = str(path)
        raise
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})", place=str(path)) from error
    except (ValueError, OverflowError) as error:
        what = f"is not what songbag wrote ({reason(error)})"
        raise DamagedRun(what, place=str(path), remedy=remedy) from error
