"""Objects in object stores: their size and time, and a temporary copy of one at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache

from songbag_pipeline.errors import SongError
from songbag_store.errors import StoreError, StoreUnavailable, no_temporary_room
from songbag_store.storage.location import is_remote
from songbag_store.storage.objects import ObjectStorage
from songbag_store.storage.storage import StoredObject

_REQUESTS_AT_ONCE = 32


@contextmanager
def local_copy(address: str, options: Mapping[str, str], *, suffix: str = "") -> Iterator[str]:
    """Yield a path on this machine: the address itself if it is one, else a temporary copy with the object's time.

    Raises
    ------
    SongError
        ``missing`` or ``unreadable-file``, if the object cannot be fetched.
    StoreError
        If the object store does not answer, or there is no room for the copy: the song is not to blame.
    """
    if not is_remote(address):
        yield address
        return
    with tempfile.NamedTemporaryFile(prefix="songbag-", suffix=suffix) as file:
        bucket, key = _opened(address, options)
        try:
            found = bucket.download(key, file)
        except FileNotFoundError:
            raise SongError("missing", "there is no such object") from None
        except StoreUnavailable:
            raise
        except StoreError as error:
            raise SongError("unreadable-file", f"the object cannot be fetched: {error.what}") from error
        except OSError as error:
            raise no_temporary_room("a song that is to be read", error) from error
        if found.stamped_at is not None:
            os.utime(file.name, (found.stamped_at.timestamp(),) * 2)
        yield file.name


class LocalCopies(AbstractContextManager["LocalCopies"]):
    """Temporary copies of objects, one at a time: it serves all parts of a recording that follow each other.

    Parameters
    ----------
    options : mapping of str to str
        How to reach the objects.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options, self._kept = options, ExitStack()
        self._address, self._path = "", ""

    def __exit__(self, *exception: object) -> None:
        self._kept.close()

    def path(self, address: str) -> str:
        """Return a path on this machine, which is valid until another address is asked for; see `local_copy`."""
        if not is_remote(address):
            return address
        if address != self._address:
            self._kept.close()
            self._address = ""
            self._path = self._kept.enter_context(local_copy(address, self._options))
            self._address = address
        return self._path


def heads(addresses: Sequence[str], options: Mapping[str, str]) -> list[StoredObject | None]:
    """Return size and time of objects, in their order; None for one that is not there."""

    def head(address: str) -> StoredObject | None:
        bucket, key = _opened(address, options)
        try:
            return bucket.head(key)
        except FileNotFoundError:
            return None

    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
        return list(threads.map(head, addresses))


def _opened(address: str, options: Mapping[str, str]) -> tuple[ObjectStorage, str]:
    """Return the bucket of an address, and the key in it."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    return _bucket(f"{scheme}://{bucket}", tuple(sorted(options.items()))), key


@lru_cache(maxsize=16)
def _bucket(address: str, options: tuple[tuple[str, str], ...]) -> ObjectStorage:
    """Open a bucket; its connections stay open from song to song."""
    return ObjectStorage(address, dict(options))
