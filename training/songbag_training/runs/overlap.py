"""Songs of any store that a run may know: those that it, or a run before it, learned from, and copies of them.

A run that was started from another one keeps what the runs before it have learned from, in `inherited.parquet`::

    store_uuid   the store of the song
    song_id
    how          trained: a run before was trained on it, or validated by it; pretrained: without its label; copy: a
                 test song of this run that is a copy of such a song

The file is written before the training and never changes. It is in memory once while it is made or read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store import SongStore
from songbag_store.errors import SongbagError
from songbag_store.format.document import reason
from songbag_store.format.index import CONTENT
from songbag_store.format.sealed import check_seal, seal
from songbag_store.likeness.alike import are_comparable
from songbag_store.progress import Progress
from songbag_store.storage.files import require_regular, write_whole
from songbag_training.errors import DamagedRun
from songbag_training.runs.run import INHERITED, Run
from songbag_training.runs.store import open_store
from songbag_training.splits.copies import Copies, audio_keys
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import Split
from songbag_training.types import Bools, Ints

TRAINED, PRETRAINED, COPY = "trained", "pretrained", "copy"

_SCHEMA = pa.schema([("store_uuid", pa.string()), ("song_id", pa.string()), ("how", pa.string())])
_GROUP_ROWS = 1 << 20
_REMEDY = "Restore it from a copy, or train again."


Known = dict[str, Bools]
"""Which of some songs are known, by how."""

_KINDS = {
    TRAINED: "trained on or validated by",
    PRETRAINED: "pretrained on without their labels",
    COPY: "copies of such songs",
}


def known_songs(run: Run, store: SongStore, songs: Split, progress: Progress) -> dict[str, Ints]:
    """Return the rows of songs that a run may know from its training, by why, and note what was compared.

    Parameters
    ----------
    run : Run
        Its train and validation songs are meant, and those of the runs that it was started from.
    store : SongStore
        The store of the songs: that of the training, perhaps with more songs, or another one.
    songs : Split
        The songs to judge the run by.
    """
    return _told("are known from training", _known(run, store, learned_songs(run), _texts(songs.song_ids), progress))


def inherit(parent: Run, store: SongStore, songs: Split, folder: Path, progress: Progress) -> None:
    """Write into a new run's folder which songs the run that it starts from knows; see the top of this file.

    Parameters
    ----------
    parent : Run
        The run to start from.
    store, songs
        The store and the split of the new run; its test songs are compared.
    folder : pathlib.Path
        Folder of the new run.
    progress : Progress
        Where to note what was compared.
    """
    learned, judged = learned_songs(parent), _texts([songs.song_ids[row] for row in songs.rows_of("test")])
    known = _known(parent, store, learned, judged, progress)
    write_inherited(folder, learned, store.uuid, judged.filter(pa.array(known[COPY])))


def inherited_suspects(run: Run, songs: Split) -> dict[str, Ints]:
    """Return the rows of the test songs that the runs before a run know, by why, from what `inherit` wrote."""
    before = read_inherited(run)
    own = before.filter(pc.equal(before["store_uuid"], run.facts.store_uuid))
    is_test = np.array(songs.subsets, object) == "test"
    known = {how: is_test & rows for how, rows in _by_kind(own, _texts(songs.song_ids)).items()}
    return _told("are known from the run that it was started from", known)


def _told(what: str, known: Known) -> dict[str, Ints]:
    """Return the rows of songs that are known, by what is to be said of them."""
    rows = np.flatnonzero(np.logical_or.reduce(list(known.values())))
    told = ", ".join(f"{known[how].sum():,} {kind}" for how, kind in _KINDS.items() if known[how].any())
    return {f"{what} ({told})": rows} if len(rows) else {}


def _known(run: Run, store: SongStore, learned: pa.Table, judged: pa.Array, progress: Progress) -> Known:
    """Return which songs are among those that a run and the runs before it have learned from, or copies of them."""
    own = learned.filter(pc.equal(learned["store_uuid"], store.uuid))
    known = _by_kind(own, judged)
    copied = known[COPY]
    if own.num_rows:
        split = run.split() if run.facts.store_uuid == store.uuid else None
        copied |= _is_in(judged, _copies(store, split, _ids(own), judged, progress))
    stores = set(learned["store_uuid"].to_pylist()) - {store.uuid}
    if run.facts.store_uuid in stores:
        others = _ids(learned.filter(pc.equal(learned["store_uuid"], run.facts.store_uuid)))
        copied |= _same_recordings(run, others, store, judged, progress)
    if stores - {run.facts.store_uuid}:
        what = "runs before that one were trained on another store"
        progress.note(f"note: whether they were trained on copies of these songs was not checked: {what}")
    return known | {COPY: copied & ~known[TRAINED] & ~known[PRETRAINED]}


def _by_kind(learned: pa.Table, judged: pa.Array) -> Known:
    """Return which songs are among some that were learned from, by the first way that holds."""
    known: Known = {}
    left = np.ones(len(judged), bool)
    for how in _KINDS:
        known[how] = left & _is_in(judged, _ids(learned.filter(pc.equal(learned["how"], how))))
        left &= ~known[how]
    return known


def _texts(song_ids: Sequence[str]) -> pa.Array:
    return pa.array(song_ids, pa.string())


def _ids(rows: pa.Table) -> pa.Array:
    return rows["song_id"].combine_chunks()


def _is_in(values: pa.Array, others: pa.Array) -> Bools:
    """Return which values are among others; null is among none."""
    found: Bools = pc.is_in(values, value_set=others.drop_null()).to_numpy(zero_copy_only=False)
    return found


def _copies(store: SongStore, split: Split | None, learned: pa.Array, judged: pa.Array, progress: Progress) -> pa.Array:
    """Return the songs of the store of the training that are copies of learned ones, and these."""
    copies = Copies.saved(split) if split else Copies.unknown()
    if not _is_in(pa.concat_arrays([judged, learned]), copies.song_ids).all():
        copies = Copies.find(store, progress)
        kinds = "bytes, audio and likeness" if are_comparable(store.spec) else "bytes and audio"
        what = f"by {kinds}, as there are songs that its split does not have"
        progress.note(f"the songs were compared with those of the training in {copies.seconds:.1f} s {what}")
        for note in copies.notes:
            progress.note(note)
    elif not copies.columns:
        progress.note("note: of copies of songs of the training only byte-identical ones are known")
    table = store.songs(columns=["song_id", CONTENT], arrow=True)
    ids = table["song_id"].combine_chunks()
    units = find_units(table, (), [pa.chunked_array([column]) for column in copies.among(ids).values()])
    return ids.filter(pa.array(np.isin(units, units[_is_in(ids, learned)])))


def _same_recordings(run: Run, learned: pa.Array, store: SongStore, judged: pa.Array, progress: Progress) -> Bools:
    """Return which songs of another store have the bytes or the audio of a learned song."""
    try:
        own = open_store(run.facts)
    except (SongbagError, OSError) as error:
        why = error.what if isinstance(error, SongbagError) else str(error)
        what = f"the store of the training cannot be opened ({why})"
        progress.note(f"note: whether the run was trained on copies of these songs was not checked: {what}")
        return np.zeros(len(judged), bool)
    progress.note("note: the songs were compared with those of the training by bytes and audio, not by likeness")
    contents = [
        one.songs(ids=ids.to_pylist(), columns=[CONTENT], arrow=True)[CONTENT].combine_chunks()
        for one, ids in ((store, judged), (own, learned))
    ]
    return _is_in(*contents) | _is_in(audio_keys(store, judged), audio_keys(own, learned))


def learned_songs(run: Run) -> pa.Table:
    """Return the songs that a run and those before it have learned from: store_uuid, song_id and how."""
    split = run.split()
    ids = [song_id for song_id, subset in zip(split.song_ids, split.subsets, strict=True) if subset != "test"]
    how = TRAINED if run.facts.pretraining is None else PRETRAINED
    own = _table(run.facts.store_uuid, _texts(ids), how)
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
