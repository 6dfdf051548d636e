"""A store in an object store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob storage.

Put-if-absent is a conditional PUT. Credentials, retries and errors are obstore's for every request, the writing of
arrays included.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import AzureStore, GCSStore, S3Store
from zarr.storage import ObjectStore, WrapperStore

from songbag_store.errors import StoreError, StoreUnavailable, UsageError
from songbag_store.format.facts import ObjectFacts
from songbag_store.storage.options import Settings, settings
from songbag_store.storage.refusals import explained, is_lost_place, is_too_short
from songbag_store.storage.storage import KeyExists, NewArray, StoredObject

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer

SCHEMES = ("s3", "gs", "az")

_PIECE_BYTES = 4 << 20

_T = TypeVar("_T")
_Backend = S3Store | GCSStore | AzureStore


class ObjectStorage:
    """A store below a prefix of a bucket (Azure: a container).

    Parameters
    ----------
    address : str
        ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.
    options : mapping of str to str
        Settings that go before those of the environment, see `songbag_store.storage.options.settings`.

    Raises
    ------
    UsageError
        If the address or an option is none.
    """

    def __init__(self, address: str, options: Mapping[str, str] | None = None) -> None:
        self._scheme, bucket, self._prefix = _parse(address)
        self._bucket = bucket
        self._settings = settings(self._scheme, options or {}, place=address)
        self._address = f"{self._scheme}://{bucket}" + (f"/{self._prefix}" if self._prefix else "")
        self._store = self._connect("")

    @property
    def address(self) -> str:
        """The address, without a slash at its end."""
        return self._address

    def _connect(self, key: str) -> _Backend:
        """Return obstore's view of what lies below a key."""
        prefix = "/".join(part for part in (self._prefix, key) if part) or None
        made: Settings = self._settings
        kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        try:
            backend: _Backend = kinds[self._scheme](
                self._bucket, prefix=prefix, config=made.config, client_options=made.client, retry_config=made.retry
            )
        except (BaseError, ValueError, TypeError) as error:
            raise explained(error, self._address) from error
        return backend

    def create(self, key: str, data: bytes) -> None:
        """Put an object if there is none of this name; it is durable and whole on return.

        Raises
        ------
        KeyExists
            If the name is taken, or another request for it is under way (S3 answers 409).
        StoreError
            If the object store cannot be used; the message says why.
        """

        def put() -> None:
            try:
                # A multipart upload would replace what is there.
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError as error:
                raise KeyExists(key) from error

        self._patiently(put)

    def make_durable(self, key: str) -> None:
        """What an object store shows is durable."""

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        return self._patiently(lambda: obstore.get(self._store, key).bytes().to_bytes())

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of an object; one that ends before them gives none."""
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
            # Azure has no ranges counted from the end.
            size = obstore.head(self._store, key)["size"]
            return obstore.get_range(self._store, key, start=max(0, size + start), end=size + stop).to_bytes()
        found = obstore.get(self._store, key, options={"range": {"suffix": -start}}).bytes().to_bytes()
        return found[: len(found) + stop]

    def entries(self, prefix: str) -> list[StoredObject]:
        """Return every object below a folder; a listing that breaks off is an error and never a shorter one."""
        listed = self._patiently(lambda: obstore.list(self._store, prefix=prefix or None).collect())
        return [StoredObject(meta["path"], meta["size"], meta["last_modified"]) for meta in listed]

    def leftovers(self) -> list[StoredObject]:
        """Return nothing: an object is there whole or not at all."""
        return []

    def head(self, key: str) -> StoredObject:
        """Return size and time of one object; raise `FileNotFoundError` where there is none."""
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
        found = self._patiently(lambda: obstore.list_with_delimiter(self._store))
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return {path.strip("/").partition("/")[0] for path in paths}

    def delete(self, key: str) -> None:
        """Delete an object."""
        try:
            self._patiently(lambda: obstore.delete(self._store, key))
        except FileNotFoundError:
            return

    def new_array(self, key: str) -> NewArray:
        """Begin an array below a prefix of its own."""
        return _RemoteArray(self._connect(key), key, f"{self._address}/{key}")

    def local_path(self, key: str) -> None:
        """There is none."""
        return

    def _patiently(self, request: Callable[[], _T]) -> _T:
        """Make a request; again, after a pause, while what obstore does not repeat by itself may pass.

        obstore repeats server errors, and requests that may be sent twice. A conditional PUT whose connection broke is
        neither; the caller of `create` knows how to tell its own object from another's.
        """
        deadline = time.monotonic() + self._settings.patience_s
        pause_s = 0.1
        while True:
            try:
                return request()
            except FileNotFoundError as error:
                if is_lost_place(error):
                    raise explained(error, self._address) from error
                raise
            except GenericError as error:
                failure = explained(error, self._address)
                if not isinstance(failure, StoreUnavailable) or time.monotonic() + pause_s > deadline:
                    raise failure from error
            except BaseError as error:
                raise explained(error, self._address) from error
            time.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(5.0, 2 * pause_s)


class _RemoteArray:
    """An array whose objects are durable as soon as they are put, and hashed on the way."""

    def __init__(self, backend: _Backend, key: str, place: str) -> None:
        self._key = key
        self._sink = _HashingStore(ObjectStore(backend))
        self._sink.place = place

    @property
    def target(self) -> _HashingStore:
        return self._sink

    def finish(self) -> dict[str, ObjectFacts]:
        return {f"{self._key}/{name}": facts for name, facts in self._sink.written.items()}


class _HashingStore(WrapperStore[ObjectStore[Any]]):
    """zarr-python's object store, noting size and digest of what is written so that nobody need read it again."""

    def __init__(self, store: ObjectStore[Any]) -> None:
        super().__init__(store)
        self.written: dict[str, ObjectFacts] = {}
        self.place = ""

    async def set(self, key: str, value: Buffer) -> None:
        data = value.as_buffer_like()
        self.written[key] = {"bytes": len(value), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            await super().set(key, value)
        except (BaseError, FileNotFoundError) as error:
            raise explained(error, self.place) from error


def _parse(address: str) -> tuple[str, str, str]:
    """Split an address into scheme, bucket and prefix."""
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme not in SCHEMES:
        raise UsageError(
            f"{scheme}:// is not a kind of place that a store can lie in",
            place=address,
            remedy="Give a folder, or an address that begins with " + ", ".join(f"{s}://" for s in SCHEMES) + ".",
        )
    if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError("is not an address of the form s3://bucket/prefix", place=address)
    return scheme, bucket, prefix
