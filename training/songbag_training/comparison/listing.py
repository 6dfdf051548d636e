"""`runs`: the runs and cross-validations below a folder, as a table. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from songbag_store.errors import UsageError
from songbag_store.format.keys import IDENTITY
from songbag_store.terminal import plain_name
from songbag_training.comparison.row import RunRow, read_row, waiting_rows
from songbag_training.errors import RunNotFound
from songbag_training.runs.document import CROSS_VALIDATION, RUN, SWEEP

if TYPE_CHECKING:
    import pandas as pd

LOWER_IS_BETTER = ("log_loss", "ece", "validation_log_loss", "validation_ece")
"""Metrics of which less is better."""

_FACTS = ("name", "when", "label", "songs", "folds", "state")
_ORDERS = ("name", "when")


@overload
def runs(
    folder: str | Path, *, sort: str | None = ..., all: bool = ..., arrow: Literal[False] = ...
) -> pd.DataFrame: ...
@overload
def runs(folder: str | Path, *, sort: str | None = ..., all: bool = ..., arrow: Literal[True]) -> pa.Table: ...
def runs(folder: str | Path, *, sort: str | None = None, all: bool = False, arrow: bool = False) -> Any:
    """Return every run and cross-validation below a folder, a row each.

    A sweep has a row for each of its points, and none of its own. Only the best of them has metrics of test songs.

    Folders whose names begin with a dot are left out, and what lies inside a store or a run. Links are followed; each
    folder is read once. Only the small documents of a run are read: `run.json`, `metrics.json` and the like.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder; it may be a run itself.
    sort : str, optional
        A metric, of which the best comes first; ``when``, the newest first; or ``name``. By default the accuracy.
    all : bool
        Also the folds of cross-validations as rows, every metric and every setting, not only those that differ.
    arrow : bool
        Return an Arrow table, not a pandas one.

    Returns
    -------
    table : pandas.DataFrame or pyarrow.Table
        `name` (the path below the folder), `when` it was begun, `label`, `songs`, `folds` (null for a run), `state`
        (finished, running, interrupted, failed, unfinished, waiting, damaged, newer or unreadable), the metrics of the
        test songs, or of all songs of a cross-validation, with the ends of their 95 % intervals (`accuracy`,
        `accuracy_low`, `accuracy_high`, ...), `floor` where one was printed (the accuracy of a baseline on the test
        songs, of folds the mean), for points of a sweep those of the validation songs
        (`validation_accuracy`, ..., with folds the mean over them), the settings that differ between the rows, and
        `note`: how far it is, what failed, and folders that cannot be read. `split` and `features` are the first digits
        of their digests.

    Raises
    ------
    RunNotFound
        If there is no such folder.
    UsageError
        If there is nothing of the name to sort by.

    Examples
    --------
    >>> songbag.runs("my-runs", sort="balanced_accuracy")[["name", "balanced_accuracy", "learning_rate"]]
    """
    found = rows_of(Path(folder), every=all)
    table = table_of(ordered(found, sort), every=all)
    return table if arrow else table.to_pandas()


def rows_of(folder: Path, *, every: bool) -> list[RunRow]:
    """Return the rows of all runs below a folder, and of folders that cannot be read."""
    if not os.path.isdir(folder):
        raise RunNotFound("there is no folder here", place=str(folder), remedy="Give the folder that the runs are in.")
    found: list[RunRow] = []

    def unreadable(path: Path, error: OSError) -> None:
        what = f"the folder cannot be read ({error.strerror})"
        found.append(RunRow(name=_name(path, folder), folder=path, state="unreadable", note=what))

    def swept(path: Path) -> None:
        found.extend(waiting_rows(path, _name(path, folder) if path != folder else ""))

    for path in _run_folders(folder, unreadable, swept):
        found.append(read_row(path, _name(path, folder), every))
        if every and found[-1].folds:
            folds = (path / f"fold-{number}" for number in range(1, found[-1].folds + 1))
            found += [read_row(fold, _name(fold, folder), every) for fold in folds if (fold / RUN).is_file()]
    return found


def ordered(rows: Sequence[RunRow], sort: str | None) -> list[RunRow]:
    """Return rows in the order that `runs` describes; those without the value come last."""
    by_name = sorted(rows, key=lambda row: row.name)
    known = list(dict.fromkeys(name for row in rows for name in row.metrics))
    known += ["floor"] if any(row.floor is not None for row in rows) else []
    wanted = "accuracy" if sort is None else sort.replace("-", "_")
    if sort is not None and rows and wanted not in (*known, *_ORDERS):
        remedy = f"Sort by one of {', '.join((*known, *_ORDERS))}."
        raise UsageError(f"there is no {sort!r} to sort by", place="sort", remedy=remedy)
    if wanted == "name":
        return by_name
    if wanted == "when":
        return sorted(by_name, key=lambda row: row.when or "", reverse=True)
    sign = 1 if wanted in LOWER_IS_BETTER else -1

    def place(row: RunRow) -> tuple[bool, float]:
        value = row.floor if wanted == "floor" else row.metrics.get(wanted, (None,))[0]
        return value is None, 0.0 if value is None else sign * value

    if sort is None:
        # The points of a sweep that were not tested follow by their validation songs.
        by_name = sorted(by_name, key=lambda row: -(row.metrics.get("validation_accuracy", (None,))[0] or 0.0))
    return sorted(by_name, key=place)


def table_of(rows: Sequence[RunRow], *, every: bool) -> pa.Table:
    """Return rows as a table; see `runs`."""
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _FACTS}
    typed = {"songs": pa.int64(), "folds": pa.int64()}
    made = {name: pa.array(own, typed.get(name, pa.string())) for name, own in columns.items()}
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        numbers = [row.metrics.get(name, (None, None, None)) for row in rows]
        for position, end in enumerate(("", "_low", "_high")):
            made[name + end] = pa.array([one[position] for one in numbers], pa.float64())
    if any(row.floor is not None for row in rows):
        made["floor"] = pa.array([row.floor for row in rows], pa.float64())
    made |= {name: _column([row.settings.get(name) for row in rows]) for name in shown_settings(rows, every)}
    return pa.table(made | {"note": pa.array([row.note for row in rows], pa.string())})


def drawn(rows: Sequence[RunRow], *, every: bool) -> pa.Table:
    """Return rows as a table to look at: times to the minute, intervals beside their metric, no notes."""
    made: dict[str, Any] = {
        "name": [plain_name(row.name) for row in rows],
        "when": [row.when[:16].replace("T", " ") if row.when else None for row in rows],
        "label": [row.label for row in rows],
        "songs": pa.array([row.songs for row in rows], pa.int64()),
        "state": [_state_text(row) for row in rows],
    }
    if any(row.folds for row in rows):
        made["folds"] = pa.array([row.folds for row in rows], pa.int64())
    for name in dict.fromkeys(name for row in rows for name in row.metrics):
        made[name.replace("_", " ")] = [_number_text(row, name) for row in rows]
    if any(row.floor is not None for row in rows):
        made["floor"] = [None if row.floor is None else f"{row.floor:.3f}" for row in rows]
    made |= {name: _column([row.settings.get(name) for row in rows]) for name in shown_settings(rows, every)}
    return pa.table({name: pa.array(own, pa.string()) if isinstance(own, list) else own for name, own in made.items()})


def shown_settings(rows: Sequence[RunRow], every: bool) -> list[str]:
    """Return the names of the settings that differ between rows, or of all."""
    told = [row for row in rows if row.settings]
    names = list(dict.fromkeys(name for row in told for name in row.settings))
    # A training that has not begun does not say all of them.
    values = {name: {repr(row.settings[name]) for row in told if name in row.settings} for name in names}
    return [name for name in names if every or len(values[name]) > 1]


def _state_text(row: RunRow) -> str:
    """Return the state, with the epoch of a training that is running."""
    return f"running at {row.note}" if row.state == "running" and row.note.startswith("epoch") else row.state


def _number_text(row: RunRow, name: str) -> str | None:
    value, low, high = row.metrics.get(name, (None, None, None))
    if value is None:
        return None
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.2f} to {high:.2f})"


def _column(values: list[Any]) -> pa.Array:
    """Return the values of a setting; as text, if they are of several types."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if one is None else str(one) for one in values], pa.string())


def _name(path: Path, top: Path) -> str:
    """Return the name of a run: its path below the folder, with escapes for what is not UTF-8."""
    own = path.relative_to(top) if path != top else Path(path.absolute().name)
    return os.fsencode(own).decode(errors="backslashreplace")


def _run_folders(
    top: Path, unreadable: Callable[[Path, OSError], None], swept: Callable[[Path], None]
) -> Iterator[Path]:
    """Yield the folders with a run or a cross-validation, each once; real folders before links; tell of sweeps."""
    seen: set[tuple[int, int]] = set()
    folders, links = [top], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            facts = os.stat(folder)
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            unreadable(folder, error)
            continue
        names = {entry.name for entry in entries}
        if IDENTITY in names:
            continue
        if RUN in names or CROSS_VALIDATION in names:
            yield folder
            continue
        if SWEEP in names:
            swept(folder)
        for entry in entries:
            if not entry.name.startswith(".") and _is_folder(entry):
                (links if entry.is_symlink() else folders).append(folder / entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
