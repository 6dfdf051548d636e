"""`Location`: the place of a store or of songs, and how to reach it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias
from urllib.parse import unquote

from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.machine import require_unix

if TYPE_CHECKING:
    from songbag_store.storage.storage import Storage

DEFAULT_CACHE_SIZE = "50GB"

_FILE = re.compile(r"file:(//(?P<host>[^/]*))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)
_LARGEST_BYTES = 10**18
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)B?")


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """The place of a store or of songs, with how to reach it.

    Examples
    --------
    >>> bucket = Location("s3://my-bucket/features", storage_options={"region": "eu-central-1"}, cache_dir="/scratch")
    >>> SongStore.open(bucket).songs()
    """

    address: str
    """A folder or a file, or ``s3://``, ``gs://`` or ``az://`` with a bucket and a prefix. ``file://`` and ``~`` are
    resolved."""
    storage_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Credentials and endpoint of an object store, used before those of the environment.

    docs/how-to/songs/object-stores.md lists them.
    """
    cache_dir: str | Path | None = None
    """Folder for a cache of reads of an object store; processes can share it: docs/how-to/training/training-data.md."""
    cache_bytes: int = 50 * 10**9
    """Most bytes that `cache_dir` may hold."""
    snapshot: int | None = None
    """Number of the store's snapshot to open; None for the newest."""

    def __post_init__(self) -> None:
        # Notebooks have no type checker, and often pass a path; no shell resolves their ``~``.
        object.__setattr__(self, "address", plain_address(place_text(self.address)))
        object.__setattr__(self, "snapshot", snapshot_number(self.snapshot))

    @classmethod
    def of(cls, place: LocationLike, snapshot: int | None = None) -> Location:
        """Return the location that a user gave in any form, with `snapshot` if that is given."""
        location = place if isinstance(place, Location) else getattr(place, "location", None)
        if not isinstance(location, Location):
            return cls(place_text(place), snapshot=snapshot)
        return location if snapshot is None else dataclasses.replace(location, snapshot=snapshot)

    @classmethod
    def parse(
        cls,
        address: str,
        storage_option: Iterable[str] | None = None,
        snapshot: int | None = None,
        cache_dir: Path | None = None,
        cache_size: str = DEFAULT_CACHE_SIZE,
    ) -> Self:
        """Return the location that a command line names.

        Raises
        ------
        UsageError
            If an option is not ``key=value``, or the size cannot be read.
        """
        return cls(address, parse_options(storage_option), cache_dir, parse_size(cache_size), snapshot)

    def __str__(self) -> str:
        return self.address

    @property
    def is_remote(self) -> bool:
        """Whether the address is that of an object store."""
        return is_remote(self.address)

    def absolute(self) -> Location:
        """Return the location with an absolute path, for processes that run in another folder."""
        if self.is_remote:
            return self
        return dataclasses.replace(self, address=str(Path(self.address).absolute()))

    def storage(self) -> Storage:
        """Return the object store or the folder at the address; a folder ignores storage options.

        Raises
        ------
        UsageError
            If the address or an option is wrong.
        UnsupportedSystem
            On Windows.
        """
        require_unix(self.address)
        if "\0" in self.address:
            raise UsageError("holds a NUL character", place=self.address, remedy="Check the path.")
        if self.is_remote:
            from songbag_store.storage.objects import ObjectStorage

            return ObjectStorage(self.address, self.storage_options)
        from songbag_store.storage.folder import LocalStorage

        return LocalStorage(Path(self.address))


class Located(Protocol):
    """A value that knows its location, such as an open store."""

    @property
    def location(self) -> Location:
        """Where it lies."""


LocationLike: TypeAlias = Location | Located | str | Path
"""The forms in which a user may give a location."""


def place_text(place: object, argument: str = "address") -> str:
    """Return what a user gave as a place as text: a text, a path of any kind, or bytes.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    if not isinstance(place, (str, bytes, os.PathLike)):
        remedy = "Give a folder, a file or an address as text or as a path."
        raise UsageError(f"is given as {type(place).__name__}", place=argument, remedy=remedy)
    return os.fsdecode(place)


def snapshot_number(snapshot: object) -> int | None:
    """Return the number of a snapshot, or None for the newest; NumPy's whole numbers are taken as Python's.

    Raises
    ------
    UsageError
        If it is no whole number.
    """
    return None if snapshot is None else whole_number(snapshot, "snapshot", 0)


def plain_address(address: str) -> str:
    """Return the path of a ``file://`` address, and a path that begins with ``~/`` with the home folder.

    Raises
    ------
    UsageError
        If the address is of a file of another machine.
    """
    if address == "~" or address.startswith("~/"):
        return os.path.expanduser(address)
    if address[:5].lower() != "file:" or (found := _FILE.fullmatch(address)) is None:
        return address
    if found["host"] not in (None, "", "localhost"):
        remedy = "Give a path on this machine: file:///folder/file has three slashes."
        raise UsageError(f"it names the machine {found['host']!r}", place=address, remedy=remedy)
    return unquote(found["path"], errors="surrogateescape")


def absolute_path(path: str, base: str) -> str:
    """Return where a path of a table leads.

    Parameters
    ----------
    path : str
        Absolute, an address, or relative.
    base : str
        The absolute folder, or the address, where a relative path starts.
    """
    path = plain_address(path)
    if is_remote(path):
        return path
    whole = path if path.startswith("/") else f"{base.rstrip('/')}/{path}"
    return whole if is_remote(whole) else os.path.normpath(whole)


def is_remote(address: str | Path) -> bool:
    """Return whether an address is that of an object store."""
    # `absolute` folds slashes, so no path of its holds "://".
    return isinstance(address, str) and "://" in address


def parse_options(given: Iterable[str] | None) -> dict[str, str]:
    """Read options of the form ``key=value``.

    Raises
    ------
    UsageError
        If one has no ``=``. The message does not show it: it may be a secret.
    """
    options = {}
    for option in given or ():
        key, equals, value = option.partition("=")
        if not equals or not key:
            remedy = "Give each as key=value, for instance region=eu-central-1."
            raise UsageError("an option without '='", place="storage_options", remedy=remedy)
        options[key.strip().lower()] = value
    return options


def parse_size(text: str) -> int:
    """Return the bytes that a size like ``50GB``, ``1.5 TB`` or ``4000000`` means.

    Raises
    ------
    UsageError
        If it is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    n_bytes = float(found[1]) * 1000 ** " kMGT".index(found[2] or " ") if found else -1
    if not 0 <= n_bytes < _LARGEST_BYTES:
        raise UsageError(f"{text[:40]!r} is not a size", place="cache_size", remedy="Write it like 50GB.")
    return int(n_bytes)
