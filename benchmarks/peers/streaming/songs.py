"""The songs that every contestant writes in its format, and what it must do with them; needs NumPy alone."""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BAG, BATCH, BUFFER = 16, 32, 512
"""Windows of a bag, songs of a batch, songs of a shuffle buffer for those that have one."""

WINDOW = (13, 216)
WORKERS = os.cpu_count() or 1

Windows = npt.NDArray[Any]
Batch = tuple[list[int], Windows]
"""Numbers of the songs in the order they were written, and their windows, shape (B, 16, 13, 216)."""


class Songs:
    """The windows of all songs one after the other, mapped from files: float32, and int16 in steps of 1/16."""

    def __init__(self, folder: Path) -> None:
        self.raw: npt.NDArray[np.float32] = np.load(folder / "raw.npy", mmap_mode="r")
        self.stored: npt.NDArray[np.int16] = np.load(folder / "stored.npy", mmap_mode="r")
        self.starts: list[int] = np.load(folder / "starts.npy").tolist()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def song(self, number: int) -> npt.NDArray[np.int16]:
        """Return the windows of a song, int16, shape (N, 13, 216)."""
        return self.stored[self.starts[number] : self.starts[number + 1]]

    def raw_song(self, number: int) -> npt.NDArray[np.float32]:
        """Return the windows of a song, float32, shape (N, 13, 216)."""
        return self.raw[self.starts[number] : self.starts[number + 1]]


def drawn(rng: np.random.Generator, n_windows: int) -> npt.NDArray[np.int64]:
    """Return which windows of a song are in its bag."""
    return np.sort(rng.permutation(n_windows)[:BAG])


def bag(windows: Windows, rng: np.random.Generator) -> Windows:
    """Return a song's bag, shape (16, 13, 216): some of its windows, or all of them and zeros."""
    chosen = windows[drawn(rng, len(windows))]
    if len(chosen) == BAG:
        return chosen
    return np.concatenate([chosen, np.zeros((BAG - len(chosen), *WINDOW), chosen.dtype)])


def bag_of_bytes(data: bytes, rng: np.random.Generator) -> Windows:
    """Return the bag of a song that was stored as the bytes of its int16."""
    return bag(np.frombuffer(data, np.int16).reshape(-1, *WINDOW), rng)


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Join samples of ``number`` and ``windows`` as bytes, as the loaders of PyTorch ask it."""
    rng = np.random.default_rng()
    return [int(s["number"]) for s in samples], np.stack([bag_of_bytes(s["windows"], rng) for s in samples])


class Streaming(ABC):
    """A format with its loader. `write` comes first, once; other processes may open what it wrote."""

    def __init__(self, folder: Path, data: str) -> None:
        self.folder, self.songs = folder, Songs(Path(data))

    @abstractmethod
    def write(self) -> None:
        """Write all songs."""

    @abstractmethod
    def begin(self, epoch: int) -> Iterator[Batch]:
        """Return an epoch in an order of its own."""

    def state(self, batches: Iterator[Batch]) -> Any:
        """Return, as JSON, where an epoch stands; the loader's own means only."""
        raise NotImplementedError

    def resume(self, state: Any) -> Iterator[Batch]:
        """Return the rest of an epoch."""
        raise NotImplementedError

    def epoch(self, number: int) -> list[int]:
        """Read an epoch; return the songs in the order they came."""
        return [song for numbers, _ in self.begin(number) for song in numbers]

    def can_resume(self) -> bool:
        """Return whether the loader keeps a state at all."""
        return type(self).resume is not Streaming.resume

    def halt(self, epoch: int, n_batches: int) -> dict[str, Any]:
        """Read some batches, take the state, then read on: the state and what came after it."""
        batches = self.begin(epoch)
        for _ in range(n_batches):
            next(batches)
        state = self.state(batches)
        return {"state": state, "rest": [_digest(batch) for batch in batches]}

    def go_on(self, state: Any) -> list[Any]:
        """Return what comes after a state."""
        return [_digest(batch) for batch in self.resume(state)]


def _digest(batch: Batch) -> list[Any]:
    numbers, windows = batch
    return [list(map(int, numbers)), zlib.crc32(np.ascontiguousarray(windows).data)]


def in_batches(order: npt.NDArray[np.int64]) -> Iterator[list[int]]:
    """Cut an order of songs into batches."""
    for first in range(0, len(order), BATCH):
        yield order[first : first + BATCH].tolist()
