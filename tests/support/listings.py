"""Listings of folders that fail, as they do on a network file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Listings:
    """Counts the listings of a folder and of those below it while it is open as a context, and makes one of them fail.

    Parameters
    ----------
    root : pathlib.Path
        The folder.
    fails : int, optional
        Number of the listing that fails, counted from 0.
    code : int
        The error it fails with.

    Attributes
    ----------
    listed : list of str
        The folders that were listed.
    """

    def __init__(self, root: Path, fails: int | None = None, code: int = 0) -> None:
        self._root, self._fails, self._code = os.path.abspath(root), fails, code
        self._real: dict[str, Callable[..., Any]] = {"scandir": os.scandir, "listdir": os.listdir}
        self.listed: list[str] = []

    def __enter__(self) -> Self:
        for name in self._real:
            setattr(os, name, self._counted(name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _counted(self, name: str) -> Callable[..., Any]:
        def listing(folder: Any = ".") -> Any:
            path = os.path.abspath(folder) if isinstance(folder, (str, os.PathLike)) else ""
            if path == self._root or path.startswith(self._root + "/"):
                self.listed.append(path)
                if len(self.listed) - 1 == self._fails:
                    raise OSError(self._code, os.strerror(self._code), path)
            return self._real[name](folder)

        return listing


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by its path, with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
