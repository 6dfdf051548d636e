"""Songs and manifests in object stores: listed, and fetched to a temporary file one at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

from songbag_pipeline.errors import SongError
from songbag_store.errors import StoreError, StoreUnavailable, no_temporary_room
from songbag_store.storage.location import is_remote
from songbag_store.storage.objects import ObjectStorage
from songbag_store.storage.storage import StoredObject

_REQUESTS_AT_ONCE = 32


@contextmanager
def local_copy(address: str, options: Mapping[str, str], *, suffix: str = "") -> Iterator[str]:
    """Yield a path on this machine: the address itself if it is one, or a temporary copy that bears the object's time.

    Raises
    ------
    SongError
        ``missing`` or ``unreadable-file``, if the object cannot be had.
    StoreError
        If the object store does not answer, or there is no room for the copy: no fault of the song.
    """
    if not is_remote(address):
        yield address
        return
    with tempfile.NamedTemporaryFile(prefix="songbag-", suffix=suffix) as file:
        found = _fetch(address, options, file)
        if found.stamped_at is not None:
            os.utime(file.name, (found.stamped_at.timestamp(),) * 2)
        yield file.name


def _fetch(address: str, options: Mapping[str, str], file: IO[bytes]) -> StoredObject:
    bucket, key = _split(address)
    try:
        return _bucket(bucket, tuple(sorted(options.items()))).download(key, file)
    except FileNotFoundError:
        raise SongError("missing", "there is no such object") from None
    except StoreUnavailable:
        raise
    except StoreError as error:
        raise SongError("unreadable-file", f"the object cannot be fetched: {error.what}") from error
    except OSError as error:
        raise no_temporary_room("a song that is to be read", error) from error


def rows_below(address: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
    """List all objects below a prefix, as rows of a source; a song id is the part of the key below the prefix."""
    storage = ObjectStorage(address, options)
    return [_row(entry.key, f"{storage.address}/{entry.key}", entry) for entry in storage.entries("")]


def remote_rows(named: list[tuple[str, str]], options: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return song ids and addresses as rows of a source, in their order; one that is not there has no size and time."""
    given = tuple(sorted(options.items()))

    def row(song_id: str, address: str) -> dict[str, Any]:
        bucket, key = _split(address)
        try:
            return _row(song_id, address, _bucket(bucket, given).head(key))
        except FileNotFoundError:
            return {"song_id": song_id, "path": address}

    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
        return list(threads.map(lambda pair: row(*pair), named))


def _row(song_id: str, address: str, entry: StoredObject) -> dict[str, Any]:
    return {"song_id": song_id, "path": address, "file_bytes": entry.n_bytes, "modified_at": entry.stamped_at}


def _split(address: str) -> tuple[str, str]:
    """Split an address into that of its bucket and the key."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


@lru_cache(maxsize=16)
def _bucket(address: str, options: tuple[tuple[str, str], ...]) -> ObjectStorage:
    """Keep a bucket's connections from song to song."""
    return ObjectStorage(address, dict(options))
