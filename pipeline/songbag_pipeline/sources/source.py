"""What is to be extracted: a folder, a manifest or single files, as one table of songs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pyarrow as pa

from songbag_pipeline.errors import ManifestError, SongError, SourceError
from songbag_pipeline.sources.bucket import local_copy, rows_below
from songbag_pipeline.sources.folder import read_folder
from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, OWN, Source, labels, table_of, twins, with_columns
from songbag_pipeline.sources.manifest import MANIFEST_SUFFIXES, read_manifest
from songbag_store.storage.location import Location, LocationLike


def read_source(source: LocationLike, *, label_from_folder: bool = False) -> Source:
    """Read a folder, a CSV or Parquet manifest, or a single audio file; any of them may lie in an object store.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder: every audio file below it is a song and its path relative to the folder the song id. A manifest
        (``.csv`` or ``.parquet``): column ``path``, optional ``song_id``, any further columns go to the index. The
        storage options of a `Location` hold for the source and for the paths of a manifest.
    label_from_folder : bool
        Add a column ``label``: the first folder below the source on the way to the song.

    Raises
    ------
    SourceError
        If there is nothing, or no song in it.
    ManifestError
        If the manifest cannot be used; nothing was done yet.
    """
    location = Location.of(source)
    path, options = Path(location.address), location.storage_options
    if location.is_remote:
        found = _read_remote(location.address, label_from_folder, options)
    elif path.is_dir():
        found = read_folder(path, label_from_folder)
    elif not os.path.isfile(path):
        raise SourceError("there is no such folder or file", place=str(location), remedy="Check the path.")
    elif label_from_folder:
        raise _no_folder(path)
    elif path.suffix.lower() in MANIFEST_SUFFIXES:
        found = read_manifest(path, str(path.parent), options)
    else:
        found = Source(table_of([path.name], [str(path)], {}))
    if found.songs.num_rows == 0:
        raise SourceError(
            "; ".join(["there is no song in it", *found.warnings[:3]]),
            place=str(location),
            remedy="Songs are files named " + ", ".join(sorted(AUDIO_SUFFIXES)[:6]) + " and the like, or a manifest.",
        )
    return found


def _no_folder(source: str | Path) -> ManifestError:
    remedy = "Give the label as a column of the manifest."
    return ManifestError("`label_from_folder` is for folders", place=str(source), remedy=remedy)


def _read_remote(address: str, label_from_folder: bool, options: Mapping[str, str]) -> Source:
    """Read a manifest, one audio file or all that lies below a prefix."""
    suffix = PurePosixPath(address).suffix.lower()
    if suffix not in MANIFEST_SUFFIXES | AUDIO_SUFFIXES:
        return _read_prefix(address, label_from_folder, options)
    if label_from_folder:
        raise _no_folder(address)
    if suffix in AUDIO_SUFFIXES:
        return Source(table_of([address.rpartition("/")[2]], [address], {}, options))
    try:
        with local_copy(address, options, suffix=suffix) as copy:
            return read_manifest(Path(copy), address.rpartition("/")[0], options)
    except SongError as error:
        raise SourceError(error.what, place=address, remedy="Check the address.") from error
    except ManifestError as error:
        error.place = address
        raise


def _read_prefix(address: str, label_from_folder: bool, options: Mapping[str, str]) -> Source:
    """List the songs below a prefix in the order of their ids."""
    left_out = 0
    rows = []
    for row in rows_below(address, options):
        if PurePosixPath(row["song_id"]).suffix.lower() in AUDIO_SUFFIXES:
            rows.append(row)
        else:
            left_out += 1
    rows.sort(key=lambda row: row["song_id"])
    notes = [f"{left_out} object(s) left out, no audio suffix"] if left_out else []
    song_ids = [row["song_id"] for row in rows]
    notes += twins(song_ids)
    table = pa.Table.from_pylist(rows, schema=OWN)
    return Source(with_columns(table, labels(song_ids) if label_from_folder else {}), tuple(notes))
