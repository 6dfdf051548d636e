"""Where a store or a source of songs lies, and how it is reached."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from songbag_store.errors import UsageError

if TYPE_CHECKING:
    from songbag_store.storage.storage import Storage

DEFAULT_CACHE_SIZE = "50GB"

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]?)B?")


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """The place of a store or of songs: one value for every function that opens something.

    Examples
    --------
    >>> bucket = Location("s3://my-bucket/features", storage_options={"region": "eu-central-1"}, cache_dir="/scratch")
    >>> SongStore.open(bucket).songs()
    """

    address: str
    """A folder or a file, or ``s3://``, ``gs://`` or ``az://`` with a bucket and a prefix."""
    storage_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """Credentials and endpoint of an object store, used before those of the environment: docs/object-stores.md."""
    cache_dir: str | Path | None = None
    """Folder that keeps what is read of an object store, for this process and others: docs/training-data.md."""
    cache_bytes: int = 50 * 10**9
    """The most that `cache_dir` may hold."""
    snapshot: int | None = None
    """Number of the store's snapshot to open; None for the newest."""

    def __post_init__(self) -> None:
        # A notebook has no type checker, and a path is what it has at hand.
        object.__setattr__(self, "address", str(self.address))

    @classmethod
    def of(cls, place: LocationLike, snapshot: int | None = None) -> Location:
        """Return the location that a user gave in any form, at another snapshot where one is named."""
        if isinstance(place, (str, Path)):
            return cls(str(place), snapshot=snapshot)
        location = place if isinstance(place, Location) else place.location
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
            If an option is not ``key=value``, or a size is none.
        """
        return cls(address, parse_options(storage_option), cache_dir, parse_size(cache_size), snapshot)

    def __str__(self) -> str:
        return self.address

    @property
    def is_remote(self) -> bool:
        """Whether the address is one of an object store."""
        return is_remote(self.address)

    def absolute(self) -> Location:
        """Return the location with a path that holds in any process: another one may have started in another folder."""
        if self.is_remote:
            return self
        return dataclasses.replace(self, address=str(Path(self.address).absolute()))

    def storage(self) -> Storage:
        """Return the object store, or the folder, at the address.

        A folder uses no storage options.

        Raises
        ------
        UsageError
            If the address or an option is none.
        """
        if self.is_remote:
            from songbag_store.storage.objects import ObjectStorage

            return ObjectStorage(self.address, self.storage_options)
        from songbag_store.storage.folder import LocalStorage

        return LocalStorage(Path(self.address))


class Located(Protocol):
    """What knows its location: an open store."""

    @property
    def location(self) -> Location:
        """Where it lies."""
        ...


LocationLike: TypeAlias = Location | Located | str | Path
"""The forms in which a user may give a location."""


def is_remote(address: str | Path) -> bool:
    """Return whether an address is one of an object store; a path that was made absolute never holds ``://``."""
    return isinstance(address, str) and "://" in address


def parse_options(given: Iterable[str] | None) -> dict[str, str]:
    """Read options of the form ``key=value``.

    Raises
    ------
    UsageError
        If one has no ``=``. Its text is not shown, for it may be a secret.
    """
    options = {}
    for option in given or ():
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(
                "an option without '='",
                place="storage_options",
                remedy="Give each as key=value, for instance region=eu-central-1.",
            )
        options[key.strip().lower()] = value
    return options


def parse_size(text: str) -> int:
    """Return the bytes that a size like ``50GB``, ``1.5 TB`` or ``4000000`` means.

    Raises
    ------
    UsageError
        If it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not a size", place="cache_size", remedy="Write it like 50GB.")
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))
