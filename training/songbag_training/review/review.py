"""`review`: labels that are probably wrong, or songs that are worth labelling next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from songbag_store.errors import UsageError
from songbag_store.format.declaration import whole_number
from songbag_store.format.index import OWN_COLUMNS
from songbag_store.loading import quiet
from songbag_store.progress import Progress, shown_on
from songbag_store.storage.files import is_there
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.change import REASONS
from songbag_training.review.doubts import doubtful_labels
from songbag_training.runs.document import CROSS_VALIDATION, RUN
from songbag_training.runs.facts import RunFacts

K = 50
"""How many unlabelled songs are listed, if it is not said."""


def review(
    run: Any,
    store: StoreLike | None = None,
    *,
    k: int | None = None,
    where: str | None = None,
    encoder: str | None = None,
    arrow: bool = False,
    progress: Progress | None = None,
) -> Any:
    """Return labels that are probably wrong, or the unlabelled songs that are most worth labelling next.

    Of a cross-validation: the songs whose label is doubtful by the predictions of the fold that did not train on them,
    by `songbag_training.evaluation.doubt.doubtful`, the worst first. The label column holds the likely label, in the
    type that it has in the store. Songs that are gone, or were given another label since, are left out.

    Of a run and a store: songs without a label of which the run is least certain, and among these such that are unlike
    each other by their song vectors. Every window of every unlabelled song is read; memory holds the vectors of ten
    times `k` songs. The label column is empty, to be filled in.

    Written to a file, the table is one that `songbag.relabel` takes as it is: it joins the label column, and leaves the
    columns that begin with ``review_`` out.

    Parameters
    ----------
    run : Run, str or pathlib.Path
        The folder of a finished cross-validation, or of a finished run.
    store : SongStore, Location, str or pathlib.Path, optional
        The store; of a cross-validation by default the one that it was made from, where it lay.
    k : int, optional
        List so many songs; by default 50 unlabelled ones, and every doubtful label.
    where : str, optional
        SQL expression over the index; only these songs are listed.
    encoder : str, optional
        The name of the run's encoder, to allow it, if it is a function outside songbag: see `Run.allow_encoder`.
    arrow : bool
        Return the table as Arrow instead of pandas.
    progress : Progress, optional
        Where to show how far it is, and what is left out; by default standard error.

    Returns
    -------
    songs : pandas.DataFrame or pyarrow.Table
        `song_id`, `path`, and a column named as the label; then of a cross-validation ``review_given`` (the label that
        the song has), ``review_p_given`` and ``review_p_likely`` (how probable the two are; with several classes for a
        song, those of the class that is most doubtful) and ``review_fold``; of a run ``review_likely`` (the
        prediction), ``review_p_likely`` (how probable it is; of several classes, that of the least certain one) and
        ``review_margin`` (from 0, least certain, to 1).

    Raises
    ------
    RunNotFound
        If nothing finished is there.
    SpecMismatch
        If the store holds other features than the run was trained on.
    UsageError
        If a run is given without a store, the store is another one than that of a cross-validation, or `relabel` could
        not take the label.

    Examples
    --------
    >>> songbag.review("my-folds").head()
    >>> songbag.review("my-run", "my-store", k=20)
    """
    shown = progress or shown_on(sys.stderr)
    table = find_review(run, store, k=k, where=where, encoder=encoder, flat=False, progress=shown)
    return table if arrow else table.to_pandas()


def is_of_folds(run: Any) -> bool:
    """Return whether a folder is that of a cross-validation."""
    folder = Path(run) if isinstance(run, str | Path) else run.folder
    return is_there(folder / CROSS_VALIDATION) and not is_there(folder / RUN)


def find_review(
    run: Any,
    store: StoreLike | None,
    *,
    k: int | None,
    where: str | None,
    encoder: str | None,
    flat: bool,
    progress: Progress,
) -> pa.Table:
    """Return the table of `review`; `flat` if it goes into a CSV, which holds no lists."""
    k = None if k is None else whole_number(k, "k", 1)
    folder = Path(run) if isinstance(run, str | Path) else run.folder
    if is_of_folds(run):
        facts = RunFacts.read(folder / "fold-1") if is_there(folder / "fold-1" / RUN) else None
        if facts is not None:
            _refuse_label(facts.label)
        return doubtful_labels(folder, store, k, where, flat, progress)
    if store is None and is_there(folder / RUN):
        what = "this is a run, which has judged too few songs to doubt their labels"
        remedy = "Give a cross-validation, whose folds judge every song; or give a store too, for songs to label next."
        raise UsageError(what, place=str(folder), remedy=remedy)
    from songbag_training.runs.run import Run

    opened = Run.open(run).allow_encoder(encoder)
    _refuse_label(opened.facts.label)
    with quiet():  # TensorFlow is loaded only for this
        from songbag_training.review.unlabelled import worth_labelling
    assert store is not None  # nothing is there, or it is a run
    return worth_labelling(opened, SongStore.open(store), k or K, where, flat, progress)


def _refuse_label(label: str) -> None:
    """Refuse a label that `relabel` does not take."""
    if label in OWN_COLUMNS or label in REASONS:
        what = f"the label {label!r} is a column that songbag fills itself: `relabel` does not change it"
        raise UsageError(what, place="review", remedy="Review what was trained on a column of your own.")
