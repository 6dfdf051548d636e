"""The source of an extraction: a folder, a manifest or one file, on this machine or in an object store."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pyarrow as pa

from songbag_pipeline.errors import ManifestError, SourceError
from songbag_pipeline.sources.folder import read_folder, read_prefix
from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, Source, table_of
from songbag_pipeline.sources.manifest import MANIFEST_SUFFIXES, read_manifest
from songbag_store.storage.location import Location, LocationLike


def read_source(source: LocationLike, *, label_from_folder: bool = False) -> Source:
    """Read a folder, a CSV or Parquet manifest, or a single audio file; any of them may lie in an object store.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder: every audio file below it is a song, and the song id is its path relative to the folder. A manifest
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
    address, name = location.address, PurePosixPath(location.address).name
    suffix = PurePosixPath(name).suffix.lower()
    is_file = suffix in MANIFEST_SUFFIXES | AUDIO_SUFFIXES if location.is_remote else os.path.isfile(address)
    if not (is_file or location.is_remote or os.path.isdir(address)):
        raise SourceError("there is no such folder or file", place=address, remedy="Check the path.")
    if is_file and label_from_folder:
        remedy = "Give the label as a column of the manifest."
        raise ManifestError("`label_from_folder` is for folders", place=address, remedy=remedy)
    if not is_file:
        found = read_prefix(location) if location.is_remote else read_folder(location)
    elif suffix in MANIFEST_SUFFIXES:
        found = read_manifest(location)
    else:
        one = pa.chunked_array([[name]], pa.string()), pa.chunked_array([[address]], pa.string())
        found = Source(location, table_of(*one, location.storage_options))
    if not found.songs.num_rows:
        raise SourceError(
            "; ".join(["there is no song in it", *found.warnings[:3]]),
            place=address,
            remedy="Songs are files named " + ", ".join(sorted(AUDIO_SUFFIXES)[:6]) + " and the like, or a manifest.",
        )
    return found.labelled() if label_from_folder else found
