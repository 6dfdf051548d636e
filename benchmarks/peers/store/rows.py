"""The same rows for every contestant, and what it must do with them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

COMMITS = 10
FLIPS = 16
"""Places at which a bit is changed."""


class Store(ABC):
    """A table in a folder. Rows of commit k lie in the data folder, as an Arrow file and as a NumPy file a column."""

    def __init__(self, folder: Path, data: str) -> None:
        self.folder, self.data = folder, Path(data)
        self.place = folder / "store"

    @abstractmethod
    def commit(self, number: int) -> None:
        """Add the rows of a commit."""

    @abstractmethod
    def open(self) -> int:
        """Open the newest state; return its rows."""

    @abstractmethod
    def plan(self) -> int:
        """Return how many songs of a list are not there."""

    @abstractmethod
    def query(self) -> int:
        """Count songs and sum windows by genre; return the genres."""

    @abstractmethod
    def read(self) -> Any:
        """Read every column of every row, with every check there is."""

    @abstractmethod
    def digest(self) -> str:
        """Return a digest of all that is read."""

    def flip(self) -> str:
        """Change one bit of the largest file, at several places in turn, and say how often reading all noticed it."""
        right = self.digest()
        path = max((path for path in self.place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        found = [self._flipped(path, (2 * number + 1) / (2 * FLIPS), right) for number in range(FLIPS)]
        told = [
            f"{found.count(what)} {what}" for what in ("noticed", "read as other values", "not met") if what in found
        ]
        return ", ".join(told)

    def _flipped(self, path: Path, part: float, right: str) -> str:
        _flip(path, part)
        try:
            return "not met" if self.digest() == right else "read as other values"
        except Exception:
            return "noticed"
        finally:
            _flip(path, part)


def arrow_digest(table: Any) -> str:
    """Return a digest of an Arrow table, whatever its chunks."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = table.sort_by("song_id").combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def read_arrow(path: Path) -> Any:
    """Return the table of an Arrow file."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _flip(path: Path, part: float) -> None:
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * part))
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 16]))
