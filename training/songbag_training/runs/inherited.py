"""`inherited.parquet`: songs that the runs before a run have learned from, if it was started from one.

::

    store_uuid   the store of the song
    song_id
    how          trained: a run before was trained on it, or validated by it; copy: a test song of this run that is a
                 copy of such a song

It is written before the training and never changes. It is in memory once while it is made or read.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.format.document import reason
from songbag_store.format.sealed import check_seal, seal
from songbag_store.storage.files import require_regular, write_whole
from songbag_training.errors import DamagedRun
from songbag_training.runs.run import INHERITED, Run

TRAINED, COPY = "trained", "copy"

_SCHEMA = pa.schema([("store_uuid", pa.string()), ("song_id", pa.string()), ("how", pa.string())])
_GROUP_ROWS = 1 << 20
_REMEDY = "Restore it from a copy, or train again."


def learned_songs(run: Run) -> pa.Table:
    """Return the songs that a run and those before it have learned from: store_uuid, song_id and how."""
    split = run.split()
    ids = [song_id for song_id, subset in zip(split.song_ids, split.subsets, strict=True) if subset != "test"]
    own = _table(run.facts.store_uuid, pa.array(ids, pa.string()), TRAINED)
    before = read_inherited(run)
    return pa.concat_tables([own, before.filter(pc.not_equal(before["how"], COPY))])


def write_inherited(folder: Path, learned: pa.Table, store_uuid: str, copies: pa.Array) -> None:
    """Write the file: what `learned_songs` of the run before says, and test songs of the new run that are copies."""
    rows = pa.concat_tables([learned, _table(store_uuid, copies, COPY)])
    write_whole(folder / INHERITED, seal(rows, {}, group_rows=_GROUP_ROWS))


def read_inherited(run: Run) -> pa.Table:
    """Read the file; of a run that was not started from another one, nothing.

    Raises
    ------
    DamagedRun
        If it is missing or was changed.
    """
    if run.facts.parent is None:
        return _SCHEMA.empty_table()
    path = run.folder / INHERITED
    try:
        require_regular(path)
        data = path.read_bytes()
        check_seal(data)  # before Arrow reads the footer
        return pq.read_table(pa.BufferReader(data)).cast(_SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DamagedRun(f"cannot be read ({reason(error)})", place=str(path), remedy=_REMEDY) from error


def _table(store_uuid: str, song_ids: pa.Array, how: str) -> pa.Table:
    n = len(song_ids)
    return pa.table([pa.repeat(store_uuid, n), song_ids, pa.repeat(how, n)], schema=_SCHEMA)
