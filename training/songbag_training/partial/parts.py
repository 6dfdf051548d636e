"""Predictions that are not finished: parts on disk, which are put together in the order of the source at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.errors import FileError, UsageError
from songbag_store.machine import lock_file
from songbag_store.sql.output import TableWriter, writing_table
from songbag_store.storage.files import creating, is_there, opened, replacing, temporary_beside, within
from songbag_training.types import Ints

_ASKED = "predict.json"
_SUFFIX = ".parquet"
_WINDOWS = ".windows.parquet"
_FORMAT = 2
"""1 had no `turns_to` of windows."""
_ID = pa.field("song_id", pa.string())
_OWN = [pa.field("key", pa.string()), pa.field("n_windows", pa.int64())]
_OPEN_PARTS = 8
_OPEN_WINDOWS = 2


def partial_folder(target: Path) -> Path:
    """Return where the parts of a file lie until it is finished."""
    return target.with_name(f"{target.name}.partial")


class PredictedParts:
    """Parts of a table of predictions: files that are never changed, each written as a whole.

    Memory: id and key of every song; a part, and 100,000 windows.

    Parameters
    ----------
    folder : pathlib.Path
        Holds them; one process at a time may use it.
    schema : pyarrow.Schema
        Of the table; it begins with song_id.
    windows : pyarrow.Schema, optional
        Of the table of windows, if there is to be one.
    """

    def __init__(self, folder: Path, schema: pa.Schema, windows: pa.Schema | None) -> None:
        self.folder, self._schema, self._windows = folder, schema, windows
        self._numbers = sorted(int(path.stem) for path in within(folder, f"*{_SUFFIX}") if path.stem.isdecimal())
        self._done = [self._read(number, ["song_id", "key"]) for number in self._numbers]
        self._part = lru_cache(_OPEN_PARTS)(self._read)
        self._open_windows = lru_cache(_OPEN_WINDOWS)(lambda number: _Windows(self._windows_path(number)))

    @property
    def next_number(self) -> int:
        """Number of the part that comes next."""
        return self._numbers[-1] + 1 if self._numbers else 1

    def lacks(self, songs: pa.Table) -> pa.BooleanArray:
        """Return which songs are in no part, or are in one by another key.

        Parameters
        ----------
        songs : pyarrow.Table
            song_id, unique, and key.
        """
        ids = songs["song_id"].combine_chunks()
        done = pa.concat_tables([pa.schema([_ID, _OWN[0]]).empty_table(), *self._done])
        now = songs["key"].take(pc.index_in(done["song_id"], value_set=ids))
        same = done.filter(pc.fill_null(pc.equal(now, done["key"]), False))["song_id"]
        return pc.invert(pc.is_in(ids, value_set=same.combine_chunks()))

    @contextmanager
    def adding(self) -> Iterator[TableWriter | None]:
        """Yield a writer of the windows of the next part, song by song; None if no windows are wanted."""
        if self._windows is None:
            yield None
            return
        with writing_table(self._windows_path(self.next_number), self._windows) as writer:
            yield writer

    def add(self, rows: pa.Table, key: pa.Array, n_windows: Ints) -> None:
        """Write the next part, which is durable when this returns; its windows must have been written.

        Parameters
        ----------
        rows : pyarrow.Table
            Some rows of the table.
        key : pyarrow.Array
            What each song was predicted from: a song with another key is predicted again.
        n_windows : int64, shape (B,)
            How many windows each has.
        """
        number = self.next_number
        part = rows.append_column(_OWN[0], key).append_column(_OWN[1], pa.array(n_windows))
        with replacing(self._path(number)) as temporary:
            pq.write_table(part, temporary, compression="zstd", write_page_checksum=True)
        self._numbers.append(number)
        self._done.append(part.select(["song_id", "key"]))

    def assembled(self, song_ids: pa.ChunkedArray) -> Iterator[tuple[pa.Table, Iterator[pa.Table]]]:
        """Yield the rows of songs in their order, some at a time, and with them their windows.

        Raises
        ------
        FileError
            If a part cannot be read, or is gone.
        """
        part_of, row_of = self._places(song_ids)
        if len(part_of) and part_of.min() < 0:
            raise self._unreadable(self.folder, "parts of it are gone")
        cuts = np.flatnonzero((np.diff(part_of) != 0) | (np.diff(row_of) != 1)) + 1
        for start, stop in zip([0, *cuts.tolist()], [*cuts.tolist(), len(part_of)], strict=True):
            if stop > start:
                number, row = self._numbers[part_of[start]], int(row_of[start])
                part = self._part(number)
                yield (
                    part.select(self._schema.names).slice(row, stop - start),
                    self._rows_of_windows(number, part["n_windows"], row, stop - start),
                )

    def _rows_of_windows(self, number: int, n_windows: pa.ChunkedArray, row: int, n_songs: int) -> Iterator[pa.Table]:
        if self._windows is not None:
            ends = np.concatenate([[0], np.cumsum(n_windows.to_numpy())])
            yield from self._open_windows(number).rows(int(ends[row]), int(ends[row + n_songs]))

    def _places(self, song_ids: pa.ChunkedArray) -> tuple[Ints, Ints]:
        """Return the part of each song, counted from 0, and its row there; the latest part that has it counts."""
        part_of, row_of = (np.full(len(song_ids), -1, np.int64) for _ in range(2))
        ids = pa.chunked_array([one for table in self._done for one in table["song_id"].chunks], pa.string())
        position = pc.fill_null(pc.index_in(ids, value_set=song_ids.combine_chunks()), -1).to_numpy()
        start = 0
        for part, table in enumerate(self._done):
            own = position[start : start + table.num_rows]
            rows = np.flatnonzero(own >= 0)
            part_of[own[rows]], row_of[own[rows]] = part, rows
            start += table.num_rows
        return part_of, row_of

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}{_SUFFIX}"

    def _windows_path(self, number: int) -> Path:
        return self.folder / f"{number:08}{_WINDOWS}"

    def _read(self, number: int, columns: list[str] | None = None) -> pa.Table:
        path = self._path(number)
        try:
            return pq.read_table(path, columns=columns, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(path, str(error)) from error

    def _unreadable(self, path: Path, what: str) -> FileError:
        remedy = f"Remove {path}, and run the same again."
        return FileError(f"a part of the predictions cannot be read ({what})", place=str(path), remedy=remedy)


class _Windows:
    """The windows of a part, of which a group of rows is in memory."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        sizes = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
        self._group = lru_cache(1)(self._file.read_row_group)

    def rows(self, start: int, stop: int) -> Iterator[pa.Table]:
        """Yield some rows."""
        for number, (first, end) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
            low, high = max(start, first), min(stop, end)
            if high > low:
                yield self._group(number).slice(low - first, high - low)


@contextmanager
def open_parts(
    target: Path, asked: Mapping[str, Any], schema: pa.Schema, windows: pa.Schema | None
) -> Iterator[PredictedParts]:
    """Open the parts of a file of predictions, and keep others out; they stay if this is left by an error.

    Parameters
    ----------
    target : pathlib.Path
        The file; its parts lie in the folder beside it, with the suffix ``.partial``.
    asked : mapping
        What is predicted from what, as JSON values: only the same goes on with parts that are there.
    schema, windows
        As for `PredictedParts`.

    Raises
    ------
    UsageError
        If the folder is of something else, or another process works on it.
    FileError
        If the folder cannot be made.
    """
    folder, asked = partial_folder(target), {"format": _FORMAT, **asked}
    if not is_there(folder):
        with creating(folder) as temporary:
            temporary.mkdir()
            (temporary / _ASKED).write_text(json.dumps(asked, indent=1))
    elif not folder.is_dir():
        raise _foreign(folder)
    with opened(folder) as descriptor:
        _lock(descriptor, folder)
        _require_same(folder, asked)
        parts = PredictedParts(folder, schema, windows)
        try:
            yield parts
        except BaseException:
            if not _holds_parts(folder):
                _remove(folder)
            raise


def _holds_parts(folder: Path) -> bool:
    """Return whether there is anything worth keeping, also where that cannot be told."""

    def raised(error: OSError) -> None:
        raise error

    try:
        return any(name.endswith(_SUFFIX) for *_, names in os.walk(folder, onerror=raised) for name in names)
    except OSError:
        return True


def remove_parts(parts: PredictedParts) -> None:
    """Remove what a finished file was made of."""
    _remove(parts.folder)


def _remove(folder: Path) -> None:
    """Remove a folder; from the first step on, it is not taken for parts any more."""
    gone = temporary_beside(folder)
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        lock_file(descriptor, wait=False)
    except BlockingIOError as error:
        remedy = "Wait until it has ended, or choose another `output`."
        raise UsageError("another process writes to this place", place=str(folder), remedy=remedy) from error
    except OSError:
        pass  # a file system without locks


def _require_same(folder: Path, asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a prediction of something else."""
    try:
        begun = json.loads((folder / _ASKED).read_bytes())
        fields = {name: (begun.get(name), asked.get(name)) for name in sorted({*begun, *asked})}
    except (OSError, ValueError, AttributeError) as error:
        raise _foreign(folder) from error
    told = ", ".join(f"{name} {was!r}, now {now!r}" for name, (was, now) in fields.items() if was != now)
    if told:
        remedy = f"Repeat that command to finish it, or remove {folder} to begin again."
        what = "evaluation" if asked.get("what") == "scores" else "prediction"
        raise UsageError(f"another {what} is not finished there ({told})", place=str(folder), remedy=remedy)


def _foreign(folder: Path) -> UsageError:
    remedy = "Move it away, or choose another `output`."
    return UsageError("is no folder of unfinished predictions", place=str(folder), remedy=remedy)
