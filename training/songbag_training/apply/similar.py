"""`similar`: the nearest songs, by the statistics of the index or by the song vectors of a run."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.likeness.nearest import Neighbours, nearest_songs
from songbag_store.likeness.points import SongPoints
from songbag_store.likeness.search import require_search
from songbag_store.loading import quiet
from songbag_store.progress import Progress, shown_on
from songbag_store.store import StoreLike
from songbag_training.runs.store import require_song


def similar(
    store: StoreLike,
    song: str | None = None,
    *,
    k: int = 10,
    run: Any = None,
    where: str | None = None,
    encoder: str | None = None,
    arrow: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Return the nearest songs of one song, or of every song.

    Songs are compared by the mean and the deviation over time of their features, each standardised over the songs of
    the store; the index has them, so no window is read. In a store of embeddings, or of other windows of one frame, by
    the cosine of their mean windows. With `run`, by the cosine of what `songbag.embed` writes as song vectors.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    song : str, optional
        Its song id; by default every song.
    k : int
        How many neighbours, or as many as there are.
    run : Run, str or pathlib.Path, optional
        A finished run on the features of the store: every window is read, and goes through the encoder.
    where : str, optional
        SQL expression over the index: only these songs are neighbours, or are given neighbours if `song` is not given.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    arrow : bool
        Return the table as Arrow instead of pandas.
    progress : Progress, optional
        Where to show how far it is; by default a bar on standard error, or lines if that is no terminal.

    Returns
    -------
    nearest : pandas.DataFrame or pyarrow.Table
        A row for each neighbour, the nearest first: `rank` from 1, `song_id` and `distance`. The distance is the root
        of the mean square of the differences, in standard deviations; of vectors it is one minus the cosine, from 0 to
        2. Without `song`: `song_id`, `rank`, `neighbour` and `distance`. A song is not its own neighbour, a copy of it
        is. Songs that failed, and songs without sums in the index, are no neighbours and have none.

    Raises
    ------
    MissingExtra
        If the neighbours of every one of more than 20,000 songs are asked for, and faiss is not installed.
    SongNotFound
        If the store has no features of the song.
    SpecMismatch
        If the run was trained on other features.
    UsageError
        If `k` is below 1.

    Examples
    --------
    >>> songbag.similar("my-store", "album/song.mp3", k=3)
    """
    shown = progress or shown_on(sys.stderr)
    found = find_similar(store, song, k=k, run=run, where=where, encoder=encoder, progress=shown)
    table = found if isinstance(found, pa.Table) else found.table()
    return table if arrow else table.to_pandas()


def find_similar(
    store: StoreLike,
    song: str | None,
    *,
    k: int,
    run: Any,
    where: str | None,
    encoder: str | None,
    progress: Progress,
) -> pa.Table | Neighbours:
    """Return the nearest songs as a table, or those of every song as they come; see `similar`."""
    k = whole_number(k, "k", 1)
    if run is None and encoder is not None:
        raise UsageError("there is no run whose encoder it could be", place="encoder", remedy="Give `run` too.")
    opened = SongStore.open(store)
    chosen = None if where is None else opened.songs(where, columns=["song_id"], arrow=True)["song_id"]
    if song is None:
        require_search(opened.inside.songs(["n_windows"]).num_rows if chosen is None else len(chosen))
    elif run is not None:
        require_song(opened, song)  # before every window is read
    if run is None:
        songs = SongPoints.read(opened.inside.state.content, opened.spec)
    else:
        songs = _by_run(opened, run, encoder, progress)
    others = songs if chosen is None else songs.some(chosen)
    if song is None:
        return Neighbours(others, k, progress)
    if songs.row(song) is None:
        require_song(opened, song)
        what = f"the index has no sums of song {song!r}, or they are not finite"
        raise UsageError(
            what, place=opened.address, remedy="Extract it again, or give a `run`, which reads its windows."
        )
    return nearest_songs(songs, song, others, k)


def _by_run(store: SongStore, run: Any, encoder: str | None, progress: Progress) -> SongPoints:
    """Return the song vectors of a run as points."""
    with quiet():  # TensorFlow is loaded only for this
        from songbag_training.apply.vectors import song_vectors

    return SongPoints.of_vectors(*song_vectors(run, store, encoder, progress))
