"""The songs of a source as one table, with size and time of their files."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from songbag_pipeline.errors import SongsMissing
from songbag_pipeline.sources.bucket import heads
from songbag_store.format.index import END, START
from songbag_store.storage.location import Location, absolute_path, is_remote
from songbag_store.storage.storage import StoredObject
from songbag_store.words import counted

AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2"}
    | {".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".spx", ".wav", ".wave", ".webm", ".wma"}
    | {".3g2", ".3gp", ".8svx", ".ac3", ".adts", ".amr", ".ape", ".asf", ".avi", ".avr", ".awb", ".bwf", ".dsf"}
    | {".dts", ".eac3", ".ec3", ".f4a", ".f4v", ".flv", ".ircam", ".m2ts", ".m4r", ".m4v", ".mlp", ".mp1", ".mpa"}
    | {".mpc", ".mpeg", ".mpg", ".mpga", ".mts", ".nist", ".ogm", ".ogv", ".ogx", ".paf", ".pvf", ".qt", ".ra"}
    | {".rf64", ".rm", ".rmvb", ".sph", ".svx", ".tak", ".thd", ".ts", ".tta", ".vob", ".voc", ".w64", ".weba"}
    | {".wmv", ".wv"}
)
"""Files of a folder with one of these suffixes are songs; their format is known by their content."""

OTHER_SUFFIXES = frozenset({".dts", ".mts", ".ts", ".voc"})
"""Those of them that texts have too (TypeScript, vocabularies): in a folder, such a file is a song by its content."""

_ROWS_AT_ONCE = 1 << 13
_TIME = pa.timestamp("us", tz="UTC")
OWN = pa.schema(
    [("song_id", pa.string()), ("path", pa.string()), ("file_bytes", pa.int64()), ("modified_at", _TIME)]
    + [(name, pa.float64()) for name in (START, END)]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The songs to extract.

    Attributes
    ----------
    location : Location
        Where they were listed, and how they are reached.
    songs : pyarrow.Table
        ``song_id`` (unique), ``path`` (absolute), the user's columns, size and time of the file (null if missing), and
        ``start_s`` and ``end_s`` of a part of it.
    warnings : tuple of str
        What was left out, and why.
    base : str or None
        Where the relative paths of a manifest start; None for other sources.
    """

    location: Location
    songs: pa.Table
    warnings: tuple[str, ...] = ()
    base: str | None = None

    @property
    def is_nowhere(self) -> bool:
        """Whether this is a manifest, and none of its files is seen from this machine."""
        return self.base is not None and self.songs["file_bytes"].null_count == self.songs.num_rows

    def missing(self) -> str:
        """Return how many files of a manifest are not there, and where they were looked for; empty if all are there."""
        n_missing = self.songs["file_bytes"].null_count
        if self.base is None or not n_missing:
            return ""
        first = self.songs["path"][pc.index(pc.is_null(self.songs["file_bytes"]), True).as_py()].as_py()
        where = f"relative paths start in {self.base}, and the first of them was looked for at {first}"
        some = f"none of the {counted(n_missing, 'file')} of the manifest is there"
        if n_missing < self.songs.num_rows:
            are = "is" if n_missing == 1 else "are"
            some = f"{n_missing:,} of the {counted(self.songs.num_rows, 'file')} of the manifest {are} not there"
        return f"{some}; {where}"

    def refuse_nowhere(self) -> None:
        """Refuse a manifest none of whose files is there.

        Raises
        ------
        SongsMissing
            With the folder where its paths start.
        """
        if self.is_nowhere:
            remedy = "Move the manifest, correct its paths, or attach the disk that is missing. Nothing was done yet."
            raise SongsMissing(self.missing(), place=str(self.location), remedy=remedy)

    def labelled(self) -> Source:
        """Return the source with a column ``label``: the first folder of each song id."""
        parts = (song_id.partition("/") for song_id in self.songs["song_id"].to_pylist())
        label = pa.array([first if slash else None for first, slash, _ in parts], pa.string())
        return dataclasses.replace(self, songs=self.songs.add_column(2, "label", label))


def suffix_of(name: str) -> str:
    """Return the suffix of a file name, in lower case and with its dot; empty if there is none."""
    _, dot, end = name.rpartition(".")
    return dot + end.lower()


def table_of(
    song_ids: pa.ChunkedArray,
    paths: pa.ChunkedArray,
    options: Mapping[str, str],
    base: str = ".",
    bounds: Sequence[pa.ChunkedArray] | None = None,
) -> pa.Table:
    """Return songs with size and time of their files, and with the bounds of those that are parts.

    A relative path starts in the folder `base`.
    """
    base = base if is_remote(base) else os.path.abspath(base)
    blocks = [OWN.empty_table()]
    # A block of rows at a time, because a list may have ten million.
    for start in range(0, len(paths), _ROWS_AT_ONCE):
        block = paths.slice(start, _ROWS_AT_ONCE).to_pylist()
        files = [absolute_path(path, base) for path in block]
        # Each file once, because many songs may be parts of it.
        once = dict.fromkeys(files)
        remote = [path for path in once if is_remote(path)]
        objects = iter(heads(remote, options) if remote else [])
        known = {path: _object_facts(next(objects)) if is_remote(path) else _file_facts(path) for path in once}
        facts = [known[path] for path in files]
        sizes, stamps = zip(*facts, strict=True)
        ids = song_ids.slice(start, _ROWS_AT_ONCE)
        of_part = [pa.nulls(len(files), pa.float64())] * 2
        if bounds is not None:
            of_part = [column.slice(start, _ROWS_AT_ONCE) for column in bounds]
        blocks.append(pa.table([ids, files, sizes, pa.array(stamps, pa.int64()).cast(_TIME), *of_part], schema=OWN))
    return pa.concat_tables(blocks)


def _file_facts(path: str) -> tuple[int | None, int | None]:
    """Return size in bytes and time in microseconds; None for a file that is not there.

    One that cannot be looked at is not missing: its song is tried, and fails with the reason.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None, None
    except OSError:
        return 0, None
    return status.st_size, status.st_mtime_ns // 1000


def _object_facts(found: StoredObject | None) -> tuple[int | None, int | None]:
    if found is None:
        return None, None
    stamp = found.stamped_at
    return found.n_bytes, None if stamp is None else int(stamp.timestamp()) * 1_000_000 + stamp.microsecond


def twins(song_ids: list[str]) -> list[str]:
    """Warn of names that look the same but differ (composed and decomposed accents)."""
    seen: dict[str, str] = {}
    notes = []
    for song_id in song_ids:
        if song_id.isascii():
            continue
        other = seen.setdefault(unicodedata.normalize("NFC", song_id), song_id)
        if other != song_id:
            notes.append(f"{song_id!a} and {other!a} differ only in how accents are written: taken as two songs")
    return notes
