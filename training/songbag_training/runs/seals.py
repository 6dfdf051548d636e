"""Seals: digests that show whether a file of a run is still what was written (docs/decisions/0052).

A run or a cross-validation has one document (`run.json`, `cross-validation.json`) that carries its own digest and lists
the SHA-256 of each finished file beside it. Weights and checkpoints, which change during a training, carry their own
digest as well. What was written before there were seals has none of these, and is read as it is.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from songbag_store.format.document import BLANK, blank_digest, parse_document, reason
from songbag_store.storage.files import file_digest, replacing, require_regular, staging, sync

TENSORS_SEAL = "songbag.sha256"
"""Metadata of a safetensors file: its SHA-256, taken with zeros in the place of the digest."""

LONGEST_HEADER_BYTES = 2**20
"""Of a safetensors file."""

CHANGED = "is not what was written: its digest is another"


class Document(Protocol):
    """What seals the files of a folder: the dataclass of its document."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def files(self) -> Mapping[str, str] | None:
        """SHA-256 of each finished file by its name; None if the folder was made before there were seals."""

    @property
    def replaced(self) -> Mapping[str, str]:
        """SHA-256 that files have until new results are in their places; empty but for that moment."""


D = TypeVar("D", bound=Document)

Fault = Callable[[Path], str | None]
"""Returns what is wrong with a file; None if nothing is."""


def digests(document: Document, name: str) -> set[str]:
    """Return the digests that a file may have: none if it is not sealed, two while new results take their places."""
    return {files[name] for files in (document.files or {}, document.replaced) if name in files}


def file_fault(path: Path, wanted: set[str]) -> str | None:
    """Return what is wrong with a file that should have one of some digests; None if nothing is."""
    return _fault(path, lambda: file_digest(path) in wanted)


def tensors_fault(path: Path, *, sealed: bool) -> str | None:
    """Return what is wrong with a safetensors file that carries its own digest; None if nothing is.

    Parameters
    ----------
    sealed : bool
        Whether a file without a digest is at fault; if not, it is taken for one that was made before there were seals.
    """

    def is_whole() -> bool:
        with path.open("rb") as file:
            start = file.read(8)
            n_bytes = int.from_bytes(start, "little")
            if n_bytes > LONGEST_HEADER_BYTES:
                raise ValueError(f"its header claims {n_bytes:,} bytes")
            start += file.read(n_bytes)
            metadata = parse_document(start[8:]).get("__metadata__")
            claimed = metadata.get(TENSORS_SEAL) if isinstance(metadata, dict) else None
            if claimed is None:
                return not sealed
            claimed = str(claimed).encode()
            at = start.find(claimed)
            if at < 0 or len(claimed) != len(BLANK):
                return False
            digest = hashlib.sha256(start[:at] + BLANK + start[at + len(BLANK) :])
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest().encode() == claimed

    return _fault(path, is_whole)


def _fault(path: Path, is_whole: Callable[[], bool]) -> str | None:
    try:
        require_regular(path)
        return None if is_whole() else CHANGED
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({reason(error)})"


def write_sealed_tensors(path: Path, data: bytes, placeholder: str) -> None:
    """Write a safetensors file with its digest in the place of a text of 64 characters that stands in its metadata."""
    start = data.index(placeholder.encode(), 8)
    digest = blank_digest(data, start).encode()
    view = memoryview(data)
    with replacing(path) as temporary, temporary.open("wb") as file:
        for piece in (view[:start], digest, view[start + len(digest) :]):
            file.write(piece)


@contextmanager
def replacing_results(folder: Path, read: Callable[[], D], write: Callable[[D], None]) -> Iterator[Path]:
    """Yield a folder for new results; on success put them into a sealed folder and seal them.

    A process that is killed at any moment leaves each file old or new, and a document that seals it. Processes that
    write results at the same time wait for each other where the file system can lock.

    Parameters
    ----------
    folder : pathlib.Path
        The sealed folder.
    read, write : callable
        Read its document and write it durably. One without seals stays as it is.
    """
    with staging(folder) as staged:
        yield staged
        new = {path.name: file_digest(path) for path in sorted(staged.iterdir())}
        with _alone_in(folder):
            document = read()
            if document.files is None:
                _move(staged, folder, new)
                return
            old = {name: _sealed_now(folder, document, name) for name in new if name in document.files}
            unchanged = new.items() <= document.files.items() and not document.replaced
            if old and not unchanged:
                # From here on a file may be old or new, so both are sealed.
                files = {name: new[name] if name in old else digest for name, digest in document.files.items()}
                write(dataclasses.replace(document, files=files, replaced=old))
            _move(staged, folder, new)
            if not unchanged:
                write(dataclasses.replace(document, files={**document.files, **new}, replaced={}))


def _sealed_now(folder: Path, document: Any, name: str) -> str:
    """Return the digest of a file that is to be replaced: the earlier one if its last replacement was interrupted."""
    earlier = document.replaced.get(name)
    if earlier and file_fault(folder / name, {earlier}) is None:
        return str(earlier)
    return str(document.files[name])


def _move(staged: Path, folder: Path, names: Mapping[str, str]) -> None:
    for name in names:
        os.replace(staged / name, folder / name)
    sync(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # this file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
