"""A store in S3 (or a server with its protocol), Google Cloud Storage or Azure Blob storage, reached by obstore."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import AzureStore, GCSStore, S3Store
from zarr.storage import ObjectStore, WrapperStore

from songbag_store.errors import StoreError, StoreUnavailable, UsageError
from songbag_store.format.facts import ObjectFacts
from songbag_store.storage.options import settings
from songbag_store.storage.refusals import explained, is_lost_place, is_too_short, panics_explained, wrong_option
from songbag_store.storage.storage import KeyExists, NewArray, StoredObject

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

_PIECE_BYTES = 4 << 20

_T = TypeVar("_T")
_Backend = S3Store | GCSStore | AzureStore
_BUCKET = re.compile(r"[A-Za-z0-9$_][A-Za-z0-9$._-]{0,254}")
_BACKENDS: dict[str, type[_Backend]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}


class ObjectStorage:
    """A store below a prefix of a bucket (Azure: a container).

    Parameters
    ----------
    address : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.
    options : mapping of str to str
        Settings that are used before those of the environment, see `songbag_store.storage.options.settings`.

    Raises
    ------
    UsageError
        If the address or an option is wrong.
    """

    def __init__(self, address: str, options: Mapping[str, str] | None = None) -> None:
        self._scheme, self._bucket, self._prefix = _parse(address)
        self._arguments, self._patience_s = settings(self._scheme, options or {}, place=address)
        self.address = f"{self._scheme}://{self._bucket}/{self._prefix}".rstrip("/")
        self._store = self._connect("")

    def _connect(self, key: str) -> _Backend:
        """Return obstore's view of what lies below a key."""
        prefix = "/".join(part for part in (self._prefix, key) if part) or None
        try:
            with panics_explained(self.address):
                return _BACKENDS[self._scheme](self._bucket, prefix=prefix, **self._arguments)
        except (BaseError, ValueError, TypeError) as error:
            if isinstance(error, UsageError):
                raise
            raise wrong_option(error, self._culprit(), self.address) from error

    def _culprit(self) -> str | None:
        """Return the name of the option without which the options are accepted; None if no single one is."""
        for kind in ("config", "client_options"):
            given = self._arguments[kind]
            for name in given:
                others = {other: value for other, value in given.items() if other != name}
                with suppress(BaseError, ValueError, TypeError):
                    _BACKENDS[self._scheme](self._bucket, **(self._arguments | {kind: others}))
                    return str(name)
        return None

    def create(self, key: str, data: bytes) -> None:
        """Put an object if there is none of this name; it is durable and whole on return.

        Raises
        ------
        KeyExists
            If the name is taken, or another request for it is under way (S3 answers 409).
        StoreError
            If the object store cannot be used, with the reason.
        """

        def put() -> None:
            try:
                # A multipart upload would replace what is there.
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                raise KeyExists(key) from error

        self._patiently(put)

    def make_durable(self, key: str) -> None:
        """Do nothing: all that an object store lists is durable."""

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        return self._patiently(lambda: obstore.get(self._store, key).bytes().to_bytes())

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of an object; none if it ends before them."""
        try:
            return self._patiently(lambda: self._read_range(key, start, stop))
        except StoreError as error:
            if is_too_short(error.__cause__):
                return b""
            raise

    def _read_range(self, key: str, start: int, stop: int) -> bytes:
        if start >= 0:
            return obstore.get_range(self._store, key, start=start, end=stop).to_bytes()
        if self._scheme == "az":
            # Azure knows no range that is counted from the end.
            size = obstore.head(self._store, key)["size"]
            return obstore.get_range(self._store, key, start=max(0, size + start), end=size + stop).to_bytes()
        found = obstore.get(self._store, key, options={"range": {"suffix": -start}}).bytes().to_bytes()
        return found[: len(found) + stop]

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every object below a folder; a listing that breaks off is an error."""
        listed = self._listing(lambda: obstore.list(self._store, prefix=prefix or None).collect())
        return [StoredObject(meta["path"], meta["size"], meta["last_modified"]) for meta in listed]

    def leftovers(self) -> list[StoredObject]:
        """Return nothing: an object is there whole or not at all."""
        return []

    def head(self, key: str) -> StoredObject:
        """Return size and time of one object; raise `FileNotFoundError` if there is none."""
        meta = self._patiently(lambda: obstore.head(self._store, key))
        return StoredObject(key, meta["size"], meta["last_modified"])

    def download(self, key: str, file: IO[bytes]) -> StoredObject:
        """Write an object into a file, piece by piece; return its size and time."""

        def fetch() -> StoredObject:
            file.seek(0)
            file.truncate()
            found = obstore.get(self._store, key)
            for piece in found.stream(min_chunk_size=_PIECE_BYTES):
                file.write(piece)
            file.flush()
            return StoredObject(key, found.meta["size"], found.meta["last_modified"])

        return self._patiently(fetch)

    def top_level(self) -> set[str]:
        """Return the names right below the prefix."""
        found = self._listing(lambda: obstore.list_with_delimiter(self._store))
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return {path.strip("/").partition("/")[0] for path in paths}

    def delete(self, key: str) -> None:
        """Delete an object."""
        with suppress(FileNotFoundError):
            self._patiently(lambda: obstore.delete(self._store, key))

    def new_array(self, key: str) -> NewArray:
        """Begin an array below a prefix of its own."""
        return _RemoteArray(ObjectStore(self._connect(key)), key, f"{self.address}/{key}", self._patience_s)

    def local_path(self, key: str) -> None:
        """Return None."""

    def _listing(self, request: Callable[[], _T]) -> _T:
        """List something. An empty prefix is an empty listing, so "not found" is an error here."""
        try:
            return self._patiently(request)
        except FileNotFoundError as error:
            raise explained(error, self.address) from error

    def _patiently(self, request: Callable[[], _T]) -> _T:
        """Make a request, and repeat it while it fails for a reason that may pass."""
        patience = _Patience(self._patience_s, self.address)
        while True:
            try:
                with panics_explained(self.address):
                    return request()
            except (BaseError, FileNotFoundError) as error:
                pause_s = patience.pause_s(error)
            time.sleep(pause_s)


class _Patience:
    """How long one request is repeated while it fails for a reason that may pass."""

    def __init__(self, patience_s: float, place: str) -> None:
        self._deadline, self._place = time.monotonic() + patience_s, place
        self._pause_s = 0.1

    def pause_s(self, error: Exception) -> float:
        """Return how long to wait before the request is repeated; raise the error that ends it otherwise."""
        if isinstance(error, FileNotFoundError) and not is_lost_place(error):
            raise error
        # obstore repeats server errors, and requests that may be sent twice. A conditional PUT whose connection broke
        # is neither; the caller of `create` can tell its own object from another's. Nor is a body that breaks off.
        failure = explained(error, self._place)
        may_pass = isinstance(error, GenericError) and isinstance(failure, StoreUnavailable)
        if not may_pass or time.monotonic() + self._pause_s > self._deadline:
            raise failure from error
        pause_s, self._pause_s = self._pause_s, min(5.0, 2 * self._pause_s)
        return random.uniform(pause_s / 2, pause_s)


class _RemoteArray(WrapperStore[ObjectStore[Any]]):
    """zarr-python's object store for one array; it notes size and digest of every object that it puts.

    It has the patience of `ObjectStorage`: zarr-python has none.
    """

    def __init__(self, store: ObjectStore[Any], key: str = "", place: str = "", patience_s: float = 0.0) -> None:
        super().__init__(store)
        self._key, self._place, self._patience_s = key, place, patience_s
        self._written: dict[str, ObjectFacts] = {}

    @property
    def target(self) -> Self:
        return self

    def finish(self) -> dict[str, ObjectFacts]:
        return self._written

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        get = super().get
        return await self._patiently(lambda: get(key, prototype, byte_range))

    async def set(self, key: str, value: Buffer) -> None:
        data, put = value.as_buffer_like(), super().set
        self._written[f"{self._key}/{key}"] = {"bytes": len(value), "sha256": hashlib.sha256(data).hexdigest()}
        # No other writer has this array, so that it may be put twice.
        await self._patiently(lambda: put(key, value))

    async def _patiently(self, request: Callable[[], Awaitable[_T]]) -> _T:
        patience = _Patience(self._patience_s, self._place)
        while True:
            try:
                with panics_explained(self._place):
                    return await request()
            except (BaseError, FileNotFoundError) as error:
                try:
                    pause_s = patience.pause_s(error)
                except FileNotFoundError as missing:
                    raise explained(missing, self._place) from missing
            await asyncio.sleep(pause_s)


def _parse(address: str) -> tuple[str, str, str]:
    """Split an address into scheme, bucket and prefix."""
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme not in _BACKENDS:
        remedy = f"Give a folder, or an address that begins with {', '.join(f'{known}://' for known in _BACKENDS)}."
        raise UsageError(f"{scheme}:// is not a kind of place that songbag knows", place=address, remedy=remedy)
    if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError("is not an address of the form s3://bucket/prefix", place=address)
    if not _BUCKET.fullmatch(bucket) or any(ord(c) < 32 or ord(c) == 127 for c in prefix):
        raise UsageError("has letters that no bucket has in its name, or a control character", place=address)
    return scheme, bucket, prefix
