"""`doctor`: what this installation can do, and what to do about what it cannot.

Each package looks at its own part: its `cli` room has a module `installation` with a function `findings`. Values of
options, keys and addresses are never looked at, so that the answer can be given to others.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import shutil
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from packaging.requirements import Requirement

from songbag_store import __version__
from songbag_store.errors import SongbagError, UnsupportedSystem
from songbag_store.machine import n_cores, require_linux

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

State = Literal["works", "missing", "wrong"]
"""Missing is what an extra or a machine could have and has not; wrong is what should work and does not."""

_LITTLE_ROOM_BYTES = 10**9
_ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_", "DASK_")
"""Variables that songbag's libraries read; only how many there are is told, because some hold keys."""
_WIDTH = 80
_MARK_OF = {"pipeline": "soundfile", "training": "tensorflow", "onnx": "tf2onnx", "mlflow": "mlflow"}
"""A library that only this extra brings; others come with other extras too: librosa needs scikit-learn."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    part: str
    """What it belongs to: system, libraries, storage, decoders, devices."""
    name: str
    """What it is."""
    state: State
    found: str
    """A version, a number, or what is the matter."""
    remedy: str = ""
    """What to do about it, in whole sentences; empty if it works."""


@overload
def doctor(*, arrow: Literal[False] = ...) -> pd.DataFrame: ...


@overload
def doctor(*, arrow: Literal[True]) -> pa.Table: ...


def doctor(*, arrow: bool = False) -> Any:
    """Return what this installation can do: `part`, `name`, `state` (works, missing, wrong), `found` and `remedy`.

    Nothing in it is secret: no addresses, no options of object stores, no values of environment variables.
    """
    table = as_table(list(findings()))
    return table if arrow else table.to_pandas()


def as_table(found: list[Finding]) -> pa.Table:
    """Return findings as an Arrow table."""
    import pyarrow as pa

    names = [field.name for field in dataclasses.fields(Finding)]
    return pa.table({name: pa.array([getattr(one, name) for one in found], pa.string()) for name in names})


def findings() -> Iterator[Finding]:
    """Yield what every package of songbag finds, one part after the other."""
    yield from _system()
    yield from _libraries()
    yield from _storage()
    for entry in metadata.entry_points(group="songbag.commands"):
        try:
            own = list(importlib.import_module(f"{entry.module}.installation").findings())
        except Exception as error:  # the other parts are still looked at
            own = [broken(entry.name, f"songbag's {entry.name}", error)]
        yield from own


def broken(part: str, name: str, error: Exception, remedy: str = "") -> Finding:
    """Return the finding that something could not be used, with the error in one line."""
    if isinstance(error, SongbagError):
        return Finding(part, name, "wrong", error.what, remedy or error.remedy)
    said = (str(error).splitlines() or [""])[0][:200]
    return Finding(part, name, "wrong", f"{type(error).__name__}: {said}", remedy or "Report it with this text.")


def missing_extra(part: str, name: str, extra: str) -> Finding:
    """Return the finding that an extra is not installed."""
    return Finding(part, name, "missing", "not installed", f"Install it with: pip install 'songbag[{extra}]'")


def in_words(found: Iterable[Finding]) -> str:
    """Return findings as text of 80 columns, and below it what to do."""
    found = list(found)
    width = max(len(one.name) for one in found)
    lines, todo = [], []
    for part, group in groupby(found, attrgetter("part")):
        lines.append(part)
        for one in group:
            state = "" if one.state == "works" else f"{one.state.upper()}: "
            indent = " " * (width + 4)
            lines += textwrap.wrap(
                f"  {one.name:{width}}  {state}{one.found}", _WIDTH, subsequent_indent=indent, break_on_hyphens=False
            )
            todo += [f"{one.name}: {one.remedy}"] * bool(one.remedy)
    if todo:
        lines += ["", "What to do:"]
        for line in todo:
            lines += textwrap.wrap(
                line,
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def _system() -> Iterator[Finding]:
    yield Finding("system", "songbag", "works", __version__)
    yield Finding("system", "Python", "works", f"{platform.python_version()} ({platform.python_implementation()})")
    try:
        require_linux("songbag")
        yield Finding("system", "operating system", "works", platform.platform())
    except UnsupportedSystem as error:
        yield Finding("system", "operating system", "missing", platform.platform(), error.remedy)
    yield Finding("system", "cores", "works", str(n_cores()))
    if (memory := _memory_bytes()) is not None:
        yield Finding("system", "memory", "works", f"{memory / 1e9:.1f} GB")
    yield _temporary_room()


def _memory_bytes() -> int | None:
    """Return the memory of this machine; None if the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _temporary_room() -> Finding:
    name = "temporary files"
    try:
        n_free = shutil.disk_usage(tempfile.gettempdir()).free
    except OSError as error:
        return broken("system", name, error, "Set TMPDIR to a folder that you may write to.")
    if n_free < _LITTLE_ROOM_BYTES:
        remedy = "Make room, or set TMPDIR to a larger disk: the songs of a batch pass through it."
        return Finding("system", name, "wrong", f"only {n_free / 1e6:.0f} MB free", remedy)
    return Finding("system", name, "works", f"{n_free / 1e9:.1f} GB free")


def _libraries() -> Iterator[Finding]:
    """Compare what is installed with what songbag's own metadata require, one extra after the other."""
    try:
        required = [Requirement(text) for text in metadata.requires("songbag") or ()]
    except metadata.PackageNotFoundError:
        remedy = "Install it with pip; run from its source alone, songbag finds only its own commands."
        yield Finding("libraries", "songbag", "wrong", "is not installed", remedy)
        return
    seen: set[str] = {"songbag"}
    for extra in ("", *_MARK_OF):
        # An extra that brings another one lists its libraries too.
        own = [one for one in required if one.name not in seen and _is_for(one, extra)]
        seen |= {one.name for one in own}
        yield from _of_extra(extra, own)


def _is_for(required: Requirement, extra: str) -> bool:
    return required.marker is None or required.marker.evaluate({"extra": extra})


def _of_extra(extra: str, required: list[Requirement]) -> Iterator[Finding]:
    part = f"libraries of {extra}" if extra else "libraries"
    versions = {one.name: _version(one.name) for one in required}
    if extra and _version(_MARK_OF[extra]) is None:
        yield missing_extra(part, extra, extra)
        return
    install = f"pip install --upgrade 'songbag{f'[{extra}]' if extra else ''}'"
    for one in required:
        version = versions[one.name]
        if version is None:
            yield Finding(part, one.name, "wrong", "not installed", f"Install it with: {install}")
        elif not one.specifier.contains(version, prereleases=True):
            what = f"{version}, and songbag needs {one.specifier}"
            yield Finding(part, one.name, "wrong", what, f"Upgrade it with: {install}")
        else:
            yield Finding(part, one.name, "works", version)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _storage() -> Iterator[Finding]:
    yield _folder()
    schemes = "s3://, gs://, az://"
    try:
        from songbag_store.storage import objects  # noqa: F401 (whether it can be loaded)

        yield Finding("storage", schemes, "works", "the library can be loaded; no server was asked")
    except Exception as error:  # a native library may fail in any way
        yield broken("storage", schemes, error, "Install it again: pip install --force-reinstall obstore")
    n_set = {prefix: sum(name.startswith(prefix) for name in os.environ) for prefix in _ENVIRONMENT}
    told = ", ".join(f"{n} {prefix}*" for prefix, n in n_set.items() if n)
    yield Finding("storage", "variables set", "works", f"{told or 'none'} (their values are not shown)")


def _folder() -> Finding:
    """Try the commit of a store in a temporary folder."""
    from songbag_store.storage.folder import LocalStorage
    from songbag_store.storage.storage import probe

    try:
        with tempfile.TemporaryDirectory(prefix="songbag-doctor-") as folder:
            probe(LocalStorage(Path(folder)))
    except (SongbagError, OSError) as error:
        return broken("storage", "folder", error, "Set TMPDIR to a folder on a disk of this machine and look again.")
    return Finding("storage", "folder", "works", "put-if-absent holds among the temporary files")
