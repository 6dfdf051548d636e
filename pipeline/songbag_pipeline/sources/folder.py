"""The songs in a folder, or below a prefix of an object store, in the order of their ids."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, OWN, Source, table_of, twins
from songbag_store.storage.location import Location
from songbag_store.storage.objects import ObjectStorage


def read_folder(location: Location) -> Source:
    """List a folder's songs; the same folder always gives the same batches."""
    root = Path(location.address)
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    song_ids: list[str] = []
    for path in _walk(root, notes):
        reason = _reason_to_leave_out(path, root)
        if reason is None:
            song_ids.append(path.relative_to(root).as_posix())
        elif reason.startswith("no audio suffix"):
            left_out[reason] += 1
        else:
            notes.append(f"{os.fsencode(path).decode(errors='backslashreplace')}: left out, {reason}")
    song_ids.sort()
    notes += [f"{count} file(s) left out, {reason}" for reason, count in sorted(left_out.items())]
    ids = pa.chunked_array([song_ids], pa.string())
    paths = pc.binary_join_element_wise(os.path.abspath(root).rstrip("/"), ids, "/")
    return Source(location, table_of(ids, paths, {}), (*notes, *twins(song_ids)))


def _walk(root: Path, notes: list[str]) -> Iterator[Path]:
    """Yield every file below a folder. Links to folders are not followed, because they may form a loop."""

    def complain(error: OSError) -> None:
        notes.append(f"{error.filename}: folder left out, {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=complain):
        paths = (Path(folder, name) for name in folders)
        notes += [f"{path}: left out, a link to a folder" for path in paths if path.is_symlink()]
        for name in names:
            yield Path(folder, name)


def _reason_to_leave_out(path: Path, root: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        return f"no audio suffix ({suffix or 'none'})"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8: rename it"
    if path.is_symlink():
        if not path.exists():
            return "a link to nothing"
        if not path.resolve().is_relative_to(root.resolve()):
            return "a link out of the source"
    return None if path.is_file() else "not a regular file"


def read_prefix(location: Location) -> Source:
    """List the songs below a prefix; a song id is the part of the key after the prefix."""
    storage = ObjectStorage(location.address, location.storage_options)
    objects = sorted(storage.entries(""), key=lambda one: one.key)
    songs = [one for one in objects if PurePosixPath(one.key).suffix.lower() in AUDIO_SUFFIXES]
    n_left_out = len(objects) - len(songs)
    notes = [f"{n_left_out} object(s) left out, no audio suffix"] if n_left_out else []
    ids = [one.key for one in songs]
    paths = [f"{storage.address}/{key}" for key in ids]
    table = pa.table([ids, paths, [one.n_bytes for one in songs], [one.stamped_at for one in songs]], schema=OWN)
    return Source(location, table, (*notes, *twins(ids)))
