"""Songs of any store that a run may know from its training: those it was trained on, and copies of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store import SongStore
from songbag_store.errors import SongbagError
from songbag_store.format.index import CONTENT
from songbag_store.likeness.alike import are_comparable
from songbag_store.progress import Progress
from songbag_training.runs.run import Run
from songbag_training.runs.store import open_store
from songbag_training.splits.copies import Copies, audio_keys
from songbag_training.splits.groups import find_units
from songbag_training.splits.split import Split
from songbag_training.types import Bools, Ints


def known_songs(run: Run, store: SongStore, songs: Split, progress: Progress) -> dict[str, Ints]:
    """Return the rows of songs that a run may know from its training, by why, and note what was compared.

    Parameters
    ----------
    run : Run
        Its train and validation songs are meant.
    store : SongStore
        The store of the songs: that of the training, perhaps with more songs, or another one.
    songs : Split
        The songs to judge the run by.
    """
    split = run.split()
    learned = pa.array([*map(split.song_ids.__getitem__, _rows_of_training(split))], pa.string())
    judged = pa.array(songs.song_ids, pa.string())
    if store.uuid == run.facts.store_uuid:
        trained = _is_in(judged, learned)
        known = trained | _is_in(judged, _copies(store, split, learned, judged, progress))
    else:
        trained = np.zeros(len(judged), bool)
        known = _same_recordings(run, learned, store, judged, progress)
    if not known.any():
        return {}
    counts = {"trained on or validated by": trained.sum(), "copies of such songs": (known & ~trained).sum()}
    told = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    return {f"are known from training ({told})": np.flatnonzero(known)}


def _rows_of_training(split: Split) -> list[int]:
    return [row for row, subset in enumerate(split.subsets) if subset != "test"]


def _is_in(values: pa.Array, others: pa.Array) -> Bools:
    """Return which values are among others; null is among none."""
    found: Bools = pc.is_in(values, value_set=others.drop_null()).to_numpy(zero_copy_only=False)
    return found


def _copies(store: SongStore, split: Split, learned: pa.Array, judged: pa.Array, progress: Progress) -> pa.Array:
    """Return the songs of the store of the training that are copies of learned ones, and these."""
    copies = Copies.saved(split)
    if not _is_in(judged, copies.song_ids).all():
        copies = Copies.find(store, progress)
        kinds = "bytes, audio and likeness" if are_comparable(store.spec) else "bytes and audio"
        what = f"by {kinds}, as there are songs that its split does not have"
        progress.note(f"the songs were compared with those of the training in {copies.seconds:.1f} s {what}")
        for note in copies.notes:
            progress.note(note)
    elif split.copy_group is None:
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
