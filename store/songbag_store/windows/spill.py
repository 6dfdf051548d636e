"""A temporary file of windows: how many a batch has is known only after decoding, when the fragment is written."""

from __future__ import annotations

import os
import tempfile
from typing import Self

import numpy as np

from songbag_store.errors import no_temporary_room
from songbag_store.format.spec import FeatureSpec
from songbag_store.types import StoredWindows


class WindowSpill:
    """Windows of one or more songs in an unnamed temporary file.

    Another process may write to it too, with `write_windows` and a descriptor that it was sent: both share one offset.

    Parameters
    ----------
    spec : FeatureSpec
        Decides shape and encoding of a window.

    Attributes
    ----------
    songs : list of int
        The number of windows of each whole song.
    n_windows : int
        The number of windows of all whole songs.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        self.songs: list[int] = []
        self.n_windows = 0
        self._file = tempfile.TemporaryFile(prefix="songbag-", buffering=0)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    def append(self, windows: StoredWindows) -> None:
        """Add windows, shape (N, C, T), to the song being written."""
        write_windows(self.fileno(), windows)

    def n_pending(self) -> int:
        """Return the number of windows of the song being written."""
        return os.lseek(self.fileno(), 0, os.SEEK_CUR) // self.spec.window_bytes - self.n_windows

    def end_song(self) -> None:
        """Note that the song being written is whole."""
        self.songs.append(self.n_pending())
        self.n_windows += self.songs[-1]

    def drop_song(self) -> None:
        """Forget the windows of the song being written, because it failed."""
        os.ftruncate(self.fileno(), os.lseek(self.fileno(), self.n_windows * self.spec.window_bytes, os.SEEK_SET))

    def windows(self) -> StoredWindows:
        """Return the windows of all whole songs, at least one, shape (N, C, T), mapped from the file and not read."""
        shape = (self.n_windows, *self.spec.window_shape)
        return np.memmap(self._file, dtype=self.spec.encoding, mode="r", shape=shape)


def write_windows(descriptor: int, windows: StoredWindows) -> None:
    """Write windows, shape (N, C, T), to the file of a `WindowSpill`.

    Raises
    ------
    StoreError
        If there is no room for them.
    """
    left = np.ascontiguousarray(windows).reshape(-1).view(np.uint8).data
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        raise no_temporary_room("the windows of a batch", error) from error
