"""`report`: the page of a store, of a run or of several runs. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.loading import quiet
from songbag_store.pages.collection import collection_page
from songbag_store.pages.page import Page, require_pages, write_page
from songbag_store.progress import shown_on
from songbag_store.storage.location import Location
from songbag_store.store import SongStore, StoreLike
from songbag_training.comparison.page import comparison_page
from songbag_training.errors import RunNotFound
from songbag_training.pages.run import NAME, run_page
from songbag_training.runs.run import Run
from songbag_training.runs.store import refuse_other_spec
from songbag_training.runs.verification import sealed_folder
from songbag_training.types import FloatArray

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike


def report(
    place: StoreLike | RunLike | Sequence[StoreLike | RunLike],
    output: str | Path | None = None,
    *,
    embed_audio: int = 0,
    run: RunLike | None = None,
    encoder: str | None = None,
    open: bool = False,
) -> Path:
    """Write the page of a store, a run, a cross-validation or several: one HTML file, which needs no network.

    Of a run: metrics with intervals, learning curves, the confusion matrix, calibration, every song with the seconds
    that decided, its features as a picture and its audio, the balance of classes, copies and leaks, and how to repeat
    it. What cannot be read, such as a store that is gone, is named on the page. At most 10,000 songs are listed, the
    surest mistakes first.

    Of a store: hours, classes, distributions, a map of at most 3,000 songs coloured by any column, features of some
    songs as pictures, songs that sound wrong, copies, and failures by cause with what to do.

    Of several runs: what `songbag.compare` finds, each against the first: settings that differ, metrics with paired
    intervals, gains of classes, songs that flipped; and learning curves over each other. Tables have at most 10,000
    rows, charts at most 200 runs.

    Parameters
    ----------
    place : SongStore, Location, Run, str, pathlib.Path or a sequence of runs
        The store, at its snapshot; the folder of a run or a cross-validation; or several of these folders.
    output : str or pathlib.Path, optional
        The .html file; by default ``report.html``, of a run in its folder, else in the working folder. A page
        that songbag made is replaced, another file is not.
    embed_audio : int
        Of a run: put the audio of the first so many songs of its list into the page, so that they play anywhere; up to
        16 MB a song and 64 MB in all. The others play where the page can reach their files.
    run : Run, str or pathlib.Path, optional
        Of a store: a finished run on its features, by whose song vectors the map is made. The windows of the songs on
        the map are read, and go through its encoder.
    encoder : str, optional
        The name of that encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    open : bool
        Open the page in the browser.

    Returns
    -------
    path : pathlib.Path
        The file.

    Raises
    ------
    MissingExtra
        If the extra `pages` is not installed.
    UsageError
        If the output cannot be written, or is no page of songbag; or if runs cannot be compared, see `songbag.compare`.
    SpecMismatch
        If the run was trained on other features than the store has.
    RunNotFound
        If one of several places is no finished run.
    """
    require_pages("report")
    embed_audio = whole_number(embed_audio, "embed_audio", 0)
    several = list(place) if isinstance(place, Sequence) and not isinstance(place, str) else [place]
    folder = sealed_folder(several[0]) if len(several) == 1 else None
    if run is not None and (len(several) != 1 or folder is not None):
        raise UsageError("is for the map of a store", place="run", remedy="Leave it out.")
    if run is None and encoder is not None:
        raise UsageError("there is no run whose encoder it could be", place="encoder", remedy="Give `run` too.")
    if embed_audio and folder is None:
        raise UsageError("is for the page of one run", place="embed_audio", remedy="Leave it out.")
    if len(several) != 1:
        path = Path(output) if output is not None else Path(NAME)
        page = comparison_page([_run_folder(one) for one in several])
    else:
        path = Path(output) if output is not None else (folder or Path()) / NAME
        if folder is None:
            page = _of_store(SongStore.open(cast(StoreLike, several[0])), run, encoder)
        else:
            page = run_page(folder, embed_audio=embed_audio)
    write_page(page, path)
    if open:
        webbrowser.open(path.resolve().as_uri())
    return path


def _of_store(store: SongStore, run: RunLike | None, encoder: str | None) -> Page:
    """Return the page of a store, with a map by its index or by the vectors of a run."""
    if run is None:
        return collection_page(store)

    def vectors_of(ids: pa.Array) -> FloatArray:
        # TensorFlow is loaded only for this.
        with quiet():
            from songbag_training.apply.vectors import song_vectors

        found, vectors = song_vectors(run, store, encoder, shown_on(sys.stderr), ids=ids)
        in_order: FloatArray = np.take(vectors, pc.index_in(ids, value_set=found).to_numpy(), axis=0)
        return in_order

    refuse_other_spec(Run.open(run).facts, store)
    name = run if isinstance(run, str | Path) else run.folder
    return collection_page(store, vectors_of, by=Path(name).resolve().name)


def _run_folder(place: StoreLike | RunLike) -> Path:
    folder = sealed_folder(place)
    if folder is None:
        remedy = "The page of several is of runs and cross-validations; that of a store is made alone."
        where = place.address if isinstance(place, SongStore) else Location.of(cast(StoreLike, place)).address
        raise RunNotFound("there is no run here", place=where, remedy=remedy)
    return folder
