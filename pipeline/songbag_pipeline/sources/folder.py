"""A folder of songs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, Source, labels, table_of, twins


def read_folder(root: Path, label_from_folder: bool) -> Source:
    """List a folder's songs in the order of their ids, so that the same folder always gives the same batches."""
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
    notes += twins(song_ids)
    user = labels(song_ids) if label_from_folder else {}
    return Source(table_of(song_ids, _below(root, song_ids), user), tuple(notes))


def _below(root: Path, names: list[str]) -> pa.ChunkedArray:
    """Return the paths of files in a folder."""
    return pa.chunked_array(
        [pc.binary_join_element_wise(os.path.abspath(root).rstrip("/"), pa.array(names, pa.string()), "/")]
    )


def _walk(root: Path, notes: list[str]) -> Iterator[Path]:
    """Yield every file below a folder; links to folders are not followed, so a loop of links ends."""

    def complain(error: OSError) -> None:
        notes.append(f"{error.filename}: folder left out, {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=complain):
        notes += [
            f"{Path(folder, name)}: left out, a link to a folder"
            for name in folders
            if os.path.islink(Path(folder, name))
        ]
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
    if not path.is_symlink():
        return None if path.is_file() else "not a regular file"
    if not path.exists():
        return "a link to nothing"
    if not path.resolve().is_relative_to(root.resolve()):
        return "a link out of the source"
    return None if path.is_file() else "not a regular file"
