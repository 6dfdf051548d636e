"""`split`: divides the songs of a store and saves the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from songbag_store.likeness.alike import are_comparable
from songbag_store.progress import Progress, shown_on
from songbag_store.storage.files import require_output
from songbag_store.store import SongStore, StoreLike
from songbag_training.config import LabelConfig
from songbag_training.splits.balance import format_balance
from songbag_training.splits.deal import choose_split
from songbag_training.splits.notes import claim
from songbag_training.splits.split import Split


def split(
    store: StoreLike,
    label: str,
    output: str | Path | None = None,
    *,
    group: Sequence[str] = (),
    folds: int | None = None,
    fold_column: str | None = None,
    where: str | None = None,
    seed: int = 0,
    label_separator: str | None = None,
    min_songs: int = 1,
    progress: Progress | None = None,
) -> Split:
    """Divide the songs of a store into train, validation and test, or into folds.

    Copies of one recording, which are found and saved with the split, and songs with the same value in a column of
    `group`, stay in one subset.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
        The store.
    label : str
        Column of the index with the label of each song.
    output : str or pathlib.Path, optional
        A new .parquet file; `train` and `cross_validate` take it as `split`.
    group : sequence of str, optional
        Columns of the index, such as artist or album.
    folds : int, optional
        Number of folds to make instead of train, validation and test.
    fold_column : str, optional
        Column of the index with the name of each song's fold.
    where : str, optional
        SQL expression over the index; only these songs are divided.
    seed : int
        Another seed gives another split.
    label_separator : str, optional
        Text between the classes of a song in a column of text: with ``"|"``, a song of ``"a|b"`` is of both.
    min_songs : int
        Classes with fewer songs, and songs of no other class, are left out.
    progress : Progress, optional
        Where to show the balance and the leak check; by default standard output.

    Returns
    -------
    split : Split

    Raises
    ------
    LabelError
        If the labels cannot be learned, or a class has too few songs to be in every subset.
    LeakError
        If given folds separate copies or groups.
    UsageError
        If there is no song or no such column, or the file cannot be written.

    Examples
    --------
    >>> songbag.split("my-store", "genre", "split.parquet", group=["artist"]).counts()
    {'train': 44, 'validation': 10, 'test': 10}
    """
    progress = progress or shown_on(sys.stdout)
    if output is not None:
        require_output(Path(output), ".parquet", new=True)
    opened = SongStore.open(store)
    chosen = choose_split(
        opened,
        label,
        where,
        folds=folds,
        fold_column=fold_column,
        group=group,
        seed=seed,
        reading=LabelConfig(label_separator=label_separator, min_songs=min_songs),
        progress=progress,
    )
    labels, made = chosen.labels, chosen.split
    if output is not None:
        made.write(Path(output))
    progress.note(format_balance(made, labels.classes) + "\n")
    for note in (*chosen.notes, claim(made, labels.songs, alike=are_comparable(opened.spec))):
        progress.note(note)
    progress.note(f"split {made.digest[:12]}" + (f": {output}" if output else ""))
    return made
