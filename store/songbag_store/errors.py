"""The exceptions of the store, and the root of those of the other two packages.

::

    SongbagError
    ├── UsageError (ValueError)                the command or call was wrong: exit code 2
    │   ├── SpecError                          a feature spec that cannot be
    │   └── QueryError                         SQL that is not one SELECT, or that DuckDB refuses
    ├── SongNotFound (KeyError)                no such song in this snapshot
    ├── SpecMismatch (ValueError)              features of two different specs would be mixed
    ├── FileError (OSError)                    a file of results that cannot be written or looked at
    ├── MissingExtra (ImportError)             a part of songbag that is not installed
    ├── UnsupportedSystem (NotImplementedError)  the operating system is not Linux
    ├── ClusterError (ConnectionError)         the Dask cluster cannot do the work
    │   ├── ClusterLost                        its scheduler or all its workers are gone
    │   └── UnfitWorker                        a worker has other software, or does not see the files
    ├── Interrupted                        SIGINT or SIGTERM, after committing: exit code 130 or 143
    └── StoreError (OSError)
        ├── StoreNotFound (FileNotFoundError)  nothing there that is a store
        ├── StoreInTheWay (FileExistsError)    something else is there already
        ├── NewerFormat                        written by a songbag that this one cannot read
        ├── StoreUnavailable                   an object store does not answer, or only with errors of its own
        ├── UnusableAddress (ValueError)       an object store's library refuses the address or an option: exit code 2
        ├── BackendRefused                     the place cannot keep the commit protocol
        └── DamagedStore                       bytes missing or changed; names key and song ids
"""

from __future__ import annotations

import copyreg
import importlib.util
import tempfile
from collections.abc import Sequence


class SongbagError(Exception):
    """An error a user can act on: where it happened, what happened, what to do.

    Parameters
    ----------
    what : str
        What went wrong, without a full stop at the end.
    place : str
        The song, file, key or option concerned; empty if there is none.
    remedy : str
        What to do about it, a whole sentence; empty if unknown.
    """

    exit_code = 1

    def __init__(self, what: str, *, place: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.place}: {self.what}." if self.place else f"{self.what}."
        return f"{head}\n  {self.remedy}" if self.remedy else head

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; their arguments are not those of `Exception`.
        return copyreg.__newobj__, (type(self), self.what), self.__dict__  # type: ignore[attr-defined]


class UsageError(SongbagError, ValueError):
    """The command or the call itself was wrong; nothing was touched."""

    exit_code = 2


class SpecError(UsageError):
    """A feature spec with numbers that do not fit together."""


class QueryError(UsageError):
    """SQL that is not one SELECT statement, or that the database refused."""


class SongNotFound(SongbagError, KeyError):
    """No song of this id in the snapshot that was opened."""

    def __init__(self, song_id: str, place: str, meant: str = "") -> None:
        remedy = f"{meant} `songbag query STORE 'select song_id from \"index\"'` lists what is there.".strip()
        super().__init__(f"no song {song_id!r} with features in this snapshot", place=place, remedy=remedy)
        self.song_id = song_id


class SpecMismatch(SongbagError, ValueError):
    """Two feature specs that should be equal; `differences` maps a field to its two values."""

    def __init__(self, what: str, differences: dict[str, tuple[object, object]], *, place: str, remedy: str) -> None:
        fields = ", ".join(f"{name} {a!r} against {b!r}" for name, (a, b) in sorted(differences.items()))
        super().__init__(f"{what} ({fields})", place=place, remedy=remedy)
        self.differences = differences


class FileError(SongbagError, OSError):
    """A file of results that cannot be written or looked at."""


class MissingExtra(SongbagError, ImportError):
    """A package of an extra that is not installed."""

    def __init__(self, extra: str, module: str, *, place: str) -> None:
        what = f"needs the Python package {module!r}, which is not installed"
        super().__init__(what, place=place, remedy=f"Install it with: pip install 'songbag[{extra}]'")
        self.extra = extra


def require_extra(extra: str, module: str, *, place: str) -> None:
    """Require a package that an extra brings, before work begins.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(extra, module, place=place)


class UnsupportedSystem(SongbagError, NotImplementedError):
    """What this operating system does not give to songbag."""


class Interrupted(SongbagError):
    """A signal ended the work after what was finished had been committed."""

    def __init__(self, signal_number: int, what: str) -> None:
        super().__init__(what, remedy="Run the same command again to go on.")
        self.exit_code = 128 + signal_number


class ClusterError(SongbagError, ConnectionError):
    """The Dask cluster could not do the work; what was finished is kept."""


class ClusterLost(ClusterError):
    """The Dask cluster went away during a run."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the Dask cluster was lost ({what})",
            place="cluster",
            remedy="What was finished is kept; run the same command again to go on.",
        )


class UnfitWorker(ClusterError):
    """A worker lacks what the run needs.

    Attributes
    ----------
    worker : str
        Its address.
    """

    def __init__(self, worker: str, lack: str, remedy: str) -> None:
        super().__init__(f"worker {worker} {lack}", place="cluster", remedy=remedy)
        self.worker = worker


class StoreError(SongbagError, OSError):
    """The store could not be read or written."""


def no_temporary_room(what: str, error: OSError) -> StoreError:
    """Return the error for a full disk of temporary files."""
    what = f"{what} could not be kept ({error.strerror or error})"
    remedy = "Make room there, or set TMPDIR to a larger disk, and run the same again."
    return StoreError(what, place=tempfile.gettempdir(), remedy=remedy)


class StoreNotFound(StoreError, FileNotFoundError):
    """There is no store at this place, or not the snapshot asked for."""


class StoreInTheWay(StoreError, FileExistsError):
    """The place of a new store is taken, or a store with another spec is there."""


class NewerFormat(StoreError):
    """The store needs a newer songbag than this one."""


class StoreUnavailable(StoreError):
    """The object store cannot be reached or answers with server errors; a later try may succeed."""


class UnusableAddress(StoreError, UsageError):
    """The address or an option of an object store is wrong in a way that only its library notices."""


class BackendRefused(StoreError):
    """The file system or object store lacks something that the commit protocol needs."""


class DamagedStore(StoreError):
    """An object of the store is missing or is not what was written.

    Attributes
    ----------
    key : str
        The object, relative to the store.
    song_ids : tuple of str
        The songs that cannot be read because of it, if known.
    """

    def __init__(self, what: str, *, key: str, place: str, song_ids: Sequence[str] = (), remedy: str = "") -> None:
        named = ", ".join(repr(s) for s in song_ids[:5]) + (", ..." if len(song_ids) > 5 else "")
        hit = f" (songs hit: {named})" if song_ids else ""
        super().__init__(f"{key}: {what}{hit}", place=place, remedy=remedy)
        self.key = key
        self.song_ids = tuple(song_ids)
