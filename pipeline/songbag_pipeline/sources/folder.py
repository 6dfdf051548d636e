"""The songs in a folder, or below a prefix of an object store, in the order of their ids."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.audio.sniff import sniff
from songbag_pipeline.errors import SongError, SourceError
from songbag_pipeline.sources.leftovers import Leftovers
from songbag_pipeline.sources.listing import AUDIO_SUFFIXES, OTHER_SUFFIXES, OWN, Source, suffix_of, table_of, twins
from songbag_pipeline.sources.selection import HIDDEN, Selection
from songbag_store.storage.location import Location
from songbag_store.storage.objects import ObjectStorage

_LINKED_FOLDERS = "links to folders"
_LINKS_OUT = "links out of the source"
_LINKS_TO_NOTHING = "links to nothing"
_TAKEN = "folders that another path leads to as well, or that links lead back to,"
_CLOSED = "folders that may not be read, or are gone,"
_NOT_REGULAR = "entries that are not a regular file"
_NOT_UTF8 = "files whose name is not UTF-8 (rename them)"
_NO_SUFFIX = "files without the suffix of an audio file"
_TEXT = "files with a suffix of audio and another content"
_HINTS = {
    HIDDEN: "`hidden=True` takes them",
    _LINKED_FOLDERS: "`follow_links=True` follows them",
    _LINKS_OUT: "`follow_links=True` follows them",
}


def read_folder(location: Location, selection: Selection, *, switches: bool) -> Source:
    """List a folder's songs; the same folder always gives the same batches.

    Raises
    ------
    SourceError
        If a folder cannot be listed for another reason than missing rights.
    """
    left_out = Leftovers(selection, switches=switches)
    walk = _Walk(location.address, selection, left_out)
    walk.run()
    song_ids = walk.song_ids
    notes = left_out.notes(_HINTS)
    if n_twice := walk.n_twice():
        notes.append(f"songs that are links to a file with another name here: {n_twice:,}; each name is a song")
    ids = pa.chunked_array([song_ids], pa.string())
    paths = pc.binary_join_element_wise(os.path.abspath(location.address).rstrip("/"), ids, "/")
    return Source(location, table_of(ids, paths, {}), (*notes, *twins(song_ids)))


class _Walk:
    """A walk through a folder. It lists each folder once, also if several links lead to it.

    Parameters
    ----------
    root : str
        The folder; it may be hidden, or a link.
    selection : Selection
        What to take.
    left_out : Leftovers
        Counts the rest.

    Attributes
    ----------
    song_ids : list of str
        The paths of the songs below the folder, in order once `run` has ended.
    """

    def __init__(self, root: str, selection: Selection, left_out: Leftovers) -> None:
        self._root, self._selection, self._left_out = root, selection, left_out
        # The folders that are listed other than by their parent, by their path below the source.
        self._entrances = {"": os.path.realpath(root)}
        self._listed: set[tuple[int, int]] = set()
        self._linked: list[str] = []
        self._targets = array("q")  # hashes of paths, because there may be millions of links
        self.song_ids: list[str] = []

    def run(self) -> None:
        """List the folder, then what links lead to."""
        root = self._entrances[""]
        self._tree("")
        while self._linked:
            links, self._linked = sorted(self._linked), []
            for path in links:
                real = os.path.realpath(self._full(path))
                # A folder above the source would lead to everything beside it.
                if f"{root}/".startswith(f"{real.rstrip('/')}/"):
                    self._left_out.add(_TAKEN, path)
                else:
                    self._entrances[path] = real
                    self._tree(path)
        self.song_ids.sort()

    def n_twice(self) -> int:
        """Return how many songs are links to a file that another song's name or link leads to as well."""
        if not self._targets:
            return 0
        own = np.fromiter((hash(self._real(path)) for path in self.song_ids), np.int64, len(self.song_ids))
        targets = np.asarray(self._targets)
        _, which, counts = np.unique(targets, return_inverse=True, return_counts=True)
        return int((np.isin(targets, own) | (counts[which] > 1)).sum())

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _real(self, path: str) -> str:
        """Return where a path below the source lies without the links on the way to its last name."""
        folder, _, tail = path.rpartition("/")
        while folder not in self._entrances:
            folder, _, name = folder.rpartition("/")
            tail = f"{name}/{tail}"
        return f"{self._entrances[folder].rstrip('/')}/{tail}"

    def _tree(self, top: str) -> None:
        """List a folder and those in it; put links to folders aside."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                if not self._is_new(folder):
                    self._left_out.add(_TAKEN, folder)
                    continue
                with os.scandir(self._full(folder)) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if self._is_folder(entry, path):
                            waiting.append(path)
            except (PermissionError, FileNotFoundError):
                self._left_out.add(_CLOSED, folder or self._root)
            except OSError as error:
                what = f"the folder cannot be listed ({error.strerror or error})"
                remedy = "Check the disk or the network, and run the same again."
                raise SourceError(what, place=self._full(folder), remedy=remedy) from error

    def _is_new(self, folder: str) -> bool:
        """Return whether a folder was not listed yet; without links to folders, each is."""
        if not self._selection.follow_links:
            return True
        status = os.stat(self._full(folder))
        known = len(self._listed)
        self._listed.add((status.st_dev, status.st_ino))
        return len(self._listed) > known

    def _is_folder(self, entry: os.DirEntry[str], path: str) -> bool:
        """Return whether an entry is a folder to list; take it if it is a song, else count it or put it aside."""
        is_folder, is_link = _is(entry.is_dir), entry.is_symlink()
        reason = self._selection.reason(entry.name, path, is_folder=is_folder)
        if reason is None and is_folder:
            if not is_link:
                return True
            if self._selection.follow_links:
                self._linked.append(path)
                return False
            reason = _LINKED_FOLDERS
        reason = reason or self._reason_for_file(entry, path, is_link=is_link)
        if reason is None:
            self.song_ids.append(path)
        else:
            self._left_out.add(reason, suffix_of(entry.name) or "none" if reason == _NO_SUFFIX else path)
        return False

    def _reason_for_file(self, entry: os.DirEntry[str], path: str, *, is_link: bool) -> str | None:
        """Return why a file or a link to a file is no song."""
        if suffix_of(entry.name) not in AUDIO_SUFFIXES:
            return _NO_SUFFIX
        try:
            path.encode()
        except UnicodeEncodeError:
            return _NOT_UTF8
        if not _is(entry.is_file):
            return _LINKS_TO_NOTHING if is_link and not os.path.exists(entry.path) else _NOT_REGULAR
        if is_link:
            real = os.path.realpath(entry.path)
            is_inside = real.startswith(f"{self._entrances['']}/")
            if not (is_inside or self._selection.follow_links):
                return _LINKS_OUT
        if suffix_of(entry.name) in OTHER_SUFFIXES and not _is_audio(entry.path):
            return _TEXT
        if is_link:
            self._targets.append(hash(real))
        return None


def _is_audio(path: str) -> bool:
    """Return whether the content of a file is known; a file that cannot be read fails later, with its reason."""
    try:
        with open_regular(path) as file:
            sniff(file)
    except SongError as error:
        return error.code != "not-audio"
    return True


def _is(test: Callable[[], bool]) -> bool:
    """Return what a test of an entry says; False if it cannot be known, as of a link that leads to itself."""
    try:
        return test()
    except OSError:
        return False


def read_prefix(location: Location, selection: Selection, *, switches: bool) -> Source:
    """List the songs below a prefix; a song id is the part of the key after the prefix."""
    storage = ObjectStorage(location.address, location.storage_options)
    left_out = Leftovers(selection, switches=switches)
    songs = []
    for one in sorted(storage.entries(""), key=lambda one: one.key):
        reason = selection.reason_for_key(one.key)
        suffix = suffix_of(PurePosixPath(one.key).name)
        if reason is None and suffix in AUDIO_SUFFIXES:
            songs.append(one)
        else:
            left_out.add(reason or _NO_SUFFIX, one.key if reason else suffix or "none")
    ids = [one.key for one in songs]
    paths = [f"{storage.address}/{key}" for key in ids]
    sizes, stamps = [one.n_bytes for one in songs], [one.stamped_at for one in songs]
    table = pa.table([ids, paths, sizes, stamps, *[pa.nulls(len(songs), pa.float64())] * 2], schema=OWN)
    return Source(location, table, (*left_out.notes(_HINTS), *twins(ids)))
