"""The exceptions of the pipeline.

::

    songbag_store.errors.SongbagError
    ├── UsageError
    │   ├── SourceError (FileNotFoundError)    no folder, no manifest, or no song in it
    │   └── ManifestError                      a list of songs that cannot be used; names line and column
    ├── SongError (ValueError)                 one song cannot be used; has a code, becomes a failed row
    ├── SongsMissing (FileNotFoundError)       no file of a manifest is there
    ├── SongsChanged                           files differ from what the store holds
    ├── TooManyFailures                        more songs failed than the user allows
    └── ContainmentError (ChildProcessError)   a worker cannot start the process that decodes
"""

from __future__ import annotations

from collections.abc import Sequence

from songbag_store.errors import SongbagError, UsageError
from songbag_store.format.failure_codes import REMEDIES


class SourceError(UsageError, FileNotFoundError):
    """There is nothing to extract at this place."""


class ManifestError(UsageError):
    """A list of songs that cannot be used."""


class SongsMissing(SongbagError, FileNotFoundError):
    """No file of a manifest is there; probably its paths start elsewhere."""


class SongError(SongbagError, ValueError):
    """One song cannot be used; the others go on.

    Attributes
    ----------
    code : str
        A key of `songbag_store.format.failure_codes.REMEDIES`.
    """

    def __init__(self, code: str, what: str, *, place: str = "") -> None:
        super().__init__(what, place=place, remedy=REMEDIES[code])
        self.code = code


class SongsChanged(SongbagError):
    """Songs whose file, or part of it, is not that of the stored features."""

    def __init__(self, song_ids: Sequence[str], *, place: str) -> None:
        named = ", ".join(repr(s) for s in song_ids[:5]) + (", ..." if len(song_ids) > 5 else "")
        super().__init__(
            f"{len(song_ids)} song(s) changed since their features were stored: {named}",
            place=place,
            remedy="Nothing was done. Run again with `update_changed=True` to compute them, or restore the files.",
        )
        self.song_ids = tuple(song_ids)


class TooManyFailures(SongbagError):
    """More songs failed than the user allows; what was finished is committed."""


class ContainmentError(SongbagError, ChildProcessError):
    """The process in which a worker decodes could not be started."""
