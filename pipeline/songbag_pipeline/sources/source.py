"""The source of an extraction: a folder, a manifest or one file, on this machine or in an object store."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import pyarrow as pa

from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import ManifestError, SongError, SourceError
from songbag_pipeline.sources.folder import read_folder, read_prefix
from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, Source, suffix_of, table_of
from songbag_pipeline.sources.manifest import read_manifest
from songbag_pipeline.sources.selection import Selection
from songbag_store.errors import UsageError
from songbag_store.sql.form import PACKED_SUFFIXES, PLAYLIST_SUFFIXES, TABLE_SUFFIXES, refuse_packed
from songbag_store.storage.location import Location, LocationLike
from songbag_store.terminal import plain_text

_NO_SONGS = PACKED_SUFFIXES | PLAYLIST_SUFFIXES | TABLE_SUFFIXES


def read_source(source: LocationLike, selection: Selection | None = None, *, label_from_folder: bool = False) -> Source:
    """Read a folder, a manifest, or a single audio file; any of them may lie in an object store.

    Parameters
    ----------
    source : str, pathlib.Path or Location
        A folder: every audio file below it is a song, and the song id is its path relative to the folder. A manifest
        (CSV, TSV, JSON Lines or Parquet): column ``path``, optional ``song_id``, any further columns go to the index.
        The storage options of a `Location` hold for the source and for the paths of a manifest.
    selection : Selection, optional
        What to take of a folder or a bucket. None is the default one, of which the user cannot choose another: notes
        name no arguments then.
    label_from_folder : bool
        Add a column ``label``: the first folder below the source on the way to the song.

    Raises
    ------
    SourceError
        If there is nothing, or no song in it.
    ManifestError
        If the manifest cannot be used; nothing was done yet.
    """
    location, chosen = Location.of(source), selection or Selection()
    if _is_file(location):
        if label_from_folder:
            remedy = "Give the label as a column of the manifest."
            raise ManifestError("`label_from_folder` is for folders", place=location.address, remedy=remedy)
        if chosen.exclude:
            remedy = "Leave songs out of a manifest by their rows."
            raise ManifestError("`exclude` is for folders and buckets", place=location.address, remedy=remedy)
        found = _one_song(location) if _is_song(location) else _manifest(location)
    else:
        read = read_prefix if location.is_remote else read_folder
        found = read(location, chosen, switches=selection is not None)
    if not found.songs.num_rows:
        remedy = f"Songs are files named {', '.join(sorted(AUDIO_SUFFIXES)[:6])} and the like, or a manifest."
        what = "; ".join(["there is no song in it", *found.warnings[:3]])
        raise SourceError(what, place=location.address, remedy=remedy)
    return found.labelled() if label_from_folder else found


def _is_file(location: Location) -> bool:
    """Return whether a source is one file; in an object store, by its suffix."""
    address = location.address
    if location.is_remote:
        return suffix_of(PurePosixPath(address).name) in _NO_SONGS | AUDIO_SUFFIXES
    try:
        mode = os.stat(address).st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise SourceError("there is no such folder or file", place=address, remedy="Check the path.") from None
    except OSError as error:
        what, remedy = f"it cannot be looked at ({error.strerror})", "Check the path and the rights to it."
        raise SourceError(what, place=address, remedy=remedy) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SourceError("it is neither a folder nor a regular file", place=address, remedy="Check the path.")
    _refuse_not_utf8(address)
    return stat.S_ISREG(mode)


def _refuse_not_utf8(address: str) -> None:
    """Refuse a source whose path is not UTF-8: the index keeps the paths of its songs as text.

    Raises
    ------
    SourceError
        With the name that is not.
    """
    for name in os.path.abspath(address).split("/"):
        try:
            name.encode()
        except UnicodeEncodeError:
            what = f"its path is not UTF-8, in {plain_text(name)!r}"
            raise SourceError(what, place=address, remedy="Rename that file or folder.") from None


def _is_song(location: Location) -> bool:
    """Return whether a file is a song, by its suffix or by its content."""
    address = location.address
    suffix = suffix_of(PurePosixPath(address).name)
    if suffix in AUDIO_SUFFIXES or suffix in _NO_SONGS or location.is_remote:
        return suffix in AUDIO_SUFFIXES
    try:
        with open_regular(address) as file:
            # An archive, or a table with bytes, may hold audio as it is.
            if refuse_packed(Path(address)).startswith(b"PAR1"):
                return False
            sniff(file)
    except UsageError as error:
        raise ManifestError(error.what, place=address, remedy=error.remedy) from error
    except SongError as error:
        if error.code in ("not-audio", "no-audio", "empty-file"):
            return False
        raise SourceError(error.what, place=address, remedy="Check the path and its rights.") from error
    return True


def _manifest(location: Location) -> Source:
    """Read a manifest; of a file that is not named like one, say that it is no audio either."""
    try:
        return read_manifest(location)
    except ManifestError as error:
        if suffix_of(PurePosixPath(location.address).name) not in _NO_SONGS:
            error.what = f"it is no audio that songbag knows, and no manifest: {error.what}"
        raise


def _one_song(location: Location) -> Source:
    name = PurePosixPath(location.address).name
    ids, paths = pa.chunked_array([[name]], pa.string()), pa.chunked_array([[location.address]], pa.string())
    found = Source(location, table_of(ids, paths, location.storage_options))
    if location.is_remote and found.songs["file_bytes"].null_count:
        raise SourceError("there is no such object", place=location.address, remedy="Check the address.")
    return found
