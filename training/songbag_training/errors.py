"""The exceptions of training, below those of the store.

::

    SongbagError                            (songbag_store.errors)
    ├── UsageError (ValueError)             (songbag_store.errors)
    │   ├── LabelError                      a label column that cannot be learned; names column, class and counts
    │   └── ModelError                      a network that does not fit the windows, or an option out of range
    ├── LeakError (ValueError)              a recording, a song or a group in two subsets of a split
    ├── SplitMismatch (ValueError)          a saved split and a store that do not belong together
    ├── NonFiniteLoss (ArithmeticError)     the loss became NaN or infinite; names step and song ids
    └── RunError (OSError)
        ├── RunNotFound (FileNotFoundError) no finished run at this place
        ├── NewerRun                        written by a newer songbag
        └── DamagedRun                      a file of a run, or a saved split, is missing or was changed
"""

from __future__ import annotations

from collections.abc import Sequence

from songbag_store.errors import SongbagError, UsageError


def some(song_ids: Sequence[str]) -> str:
    """Return the first song ids as text for a message."""
    return ", ".join(map(repr, song_ids[:6])) + (", ..." if len(song_ids) > 6 else "")


class LabelError(UsageError):
    """A label column that cannot be learned; found before training starts.

    Attributes
    ----------
    column : str
        The label column.
    """

    def __init__(self, column: str, what: str, remedy: str) -> None:
        super().__init__(what, place=f"label column {column!r}", remedy=remedy)
        self.column = column


class ModelError(UsageError):
    """A network that does not fit the windows, or a training option out of its range."""


class LeakError(SongbagError, ValueError):
    """A song, copies of one recording, or songs of one group, in two subsets of a split.

    Attributes
    ----------
    song_ids : tuple of str
        The affected songs.
    """

    def __init__(self, what: str, song_ids: Sequence[str], remedy: str) -> None:
        super().__init__(f"{what}: {some(song_ids)}", place="split", remedy=remedy)
        self.song_ids = tuple(song_ids)


class SplitMismatch(SongbagError, ValueError):
    """A saved split and a store that do not belong together.

    Attributes
    ----------
    song_ids : tuple of str
        The affected songs.
    """

    def __init__(self, what: str, song_ids: Sequence[str]) -> None:
        remedy = "Give the store that the split was made from, or make a new one with `songbag split`."
        super().__init__(f"{what}: {some(song_ids)}", place="split", remedy=remedy)
        self.song_ids = tuple(song_ids)


class NonFiniteLoss(SongbagError, ArithmeticError):
    """The training loss became NaN or infinite.

    Attributes
    ----------
    epoch, step : int
        Epoch and step, counted from 1.
    song_ids : tuple of str
        The songs of that batch.
    """

    def __init__(self, epoch: int, step: int, song_ids: Sequence[str], *, place: str, remedy: str) -> None:
        named = ", ".join(map(repr, song_ids))
        what = f"the loss is not finite in step {step} of epoch {epoch}; songs of this batch: {named}"
        super().__init__(what, place=place, remedy=remedy)
        self.epoch = epoch
        self.step = step
        self.song_ids = tuple(song_ids)


class RunError(SongbagError, OSError):
    """A run folder could not be read or written."""


class RunNotFound(RunError, FileNotFoundError):
    """There is no finished run at this place."""


class NewerRun(RunError):
    """A run of a newer format than this version of songbag knows."""


class DamagedRun(RunError):
    """A file of a run folder, or a saved split, is missing or was changed."""
