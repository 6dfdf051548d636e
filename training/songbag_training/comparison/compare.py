"""`compare`: runs and cross-validations on the songs that both tested. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from songbag_store.errors import UsageError
from songbag_store.sql.shown import Shown
from songbag_store.terminal import plain_name
from songbag_training.comparison.judged import Judged
from songbag_training.comparison.listing import shown_settings
from songbag_training.comparison.origins import Between, origins
from songbag_training.comparison.pair import Pair
from songbag_training.comparison.row import RunRow, read_row

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike

TableName = Literal["metrics", "settings", "classes", "songs", "tests", "origins", "floors"]


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """The result of `compare`; see there for the tables.

    Attributes
    ----------
    tables : dict
        Arrow tables by their names.
    notes : list of str
        What was left out, and what intervals rest on.
    """

    tables: dict[str, pa.Table]
    notes: list[str]

    def table(self, name: TableName = "metrics", *, arrow: bool = False) -> Any:
        """Return a table, as pandas, or as Arrow with ``arrow=True``."""
        if name not in self.tables:
            remedy = f"Choose one of {', '.join(get_args(TableName))}."
            raise UsageError(f"there is no table {name!r}", place="table", remedy=remedy)
        return self.tables[name] if arrow else self.tables[name].to_pandas()

    def _facts(self) -> Iterator[tuple[str, object]]:
        for row in self.tables["metrics"].to_pylist():
            if row["metric"] == "accuracy":
                yield f"{row['run']}, accuracy minus that of the first", row["difference"]
        yield "tables", ", ".join(self.tables)


def compare(*runs: RunLike) -> Comparison:
    """Compare runs and cross-validations with the first of them, each on the songs that both tested.

    Of a run these are its test songs; of a cross-validation all songs, each by the fold that did not train on it. If
    one has tested no song, as the points of a sweep, the validation songs of all runs are compared, and a note says so.

    Parameters
    ----------
    *runs : Run, str or pathlib.Path
        Two or more folders of finished runs or cross-validations, of one label.

    Returns
    -------
    comparison : Comparison
        Its tables: ``metrics`` (of each run: `metric`, `part` (test or validation), `songs`, `reference`, `value`,
        `difference`, and the ends `low` and `high` of its 95 % interval, by
        `songbag_training.evaluation.intervals.paired_intervals`), ``settings`` that differ, ``classes`` (the recall of
        each class, `songbag_training.comparison.pair.Pair.class_gains`), ``songs`` that flipped, ``tests`` (McNemar's
        exact test, or where songs come in groups the sign test of groups,
        `songbag_training.comparison.pair.Pair.exact_test`), and ``origins``: how much of the difference of the
        reported accuracies comes from songs relabelled, added or removed, `songbag_training.comparison.origins`;
        and ``floors``: of each run that printed one, the accuracy of a baseline on all its test songs, beside its own.

    Raises
    ------
    UsageError
        If fewer than two are given, they are of different labels or tasks, or no song was tested by both.
    RunNotFound
        If one is not finished.

    Examples
    --------
    >>> songbag.compare("first", "second").table("metrics")
    """
    if len(runs) < 2:
        raise UsageError("it takes two runs to compare", place="runs", remedy="Name two or more folders.")
    folders = [Path(run) if isinstance(run, str | Path) else run.folder for run in runs]
    names = _names(folders)
    first, *others = judged = [Judged.read(run, name) for run, name in zip(runs, names, strict=True)]
    notes = []
    if untested := [one.name for one in judged if one.part == "validation"]:
        first, *others = (one.on_validation() for one in judged)
        has = "has" if len(untested) == 1 else "have"
        notes.append(
            f"Validation songs are compared, as {', '.join(untested)} {has} tested none. They chose the weights, so "
            "runs look better on them than on test songs."
        )
    pairs = [Pair.of(first, other) for other in others]
    between = [Between.of(first, other) for other in others]
    notes += [note for pair, own in zip(pairs, between, strict=True) for note in (*pair.notes, *own.notes)]
    because = [
        (other.name, *one)
        for other, own in zip(others, between, strict=True)
        for one in origins(first, other, own)
        if one[1]
    ]
    listed = [read_row(folder, name, False) for folder, name in zip(folders, names, strict=True)]
    made = {
        "metrics": _table(_METRICS, (row for pair in pairs for row in _metric_rows(pair))),
        "settings": _settings(listed),
        "classes": _table(_CLASSES, (row for pair in pairs for row in _class_rows(pair))),
        "songs": pa.concat_tables(pair.flips() for pair in pairs),
        "tests": _table(_TESTS, ((pair.other.name, *pair.exact_test()) for pair in pairs)),
        "origins": _table(_ORIGINS, because),
        "floors": _table(_FLOORS, map(_floor, (row for row in listed if row.floor is not None))),
    }
    return Comparison(made, list(dict.fromkeys(notes)))


_SETTING = "setting"
_TEXT, _COUNT, _SHARE = pa.string(), pa.int64(), pa.float64()
_METRICS = {"run": _TEXT, "metric": _TEXT, "part": _TEXT, "songs": _COUNT, "reference": _SHARE, "value": _SHARE}
_METRICS |= {"difference": _SHARE, "low": _SHARE, "high": _SHARE, "note": _TEXT}
_CLASSES = {"run": _TEXT, "class": _TEXT, "songs": _COUNT, "reference": _SHARE, "value": _SHARE, "difference": _SHARE}
_CLASSES |= {"low": _SHARE, "high": _SHARE}
_TESTS = {"run": _TEXT, "test": _TEXT, "of": _TEXT, "gained": _COUNT, "lost": _COUNT, "p": _SHARE}
_ORIGINS = {"run": _TEXT, "because": _TEXT, "songs": _COUNT, "difference": _SHARE}
_FLOORS = {"run": _TEXT, "accuracy": _SHARE, "floor": _SHARE, "difference": _SHARE}


def _table(columns: dict[str, pa.DataType], rows: Any) -> pa.Table:
    found = list(rows)
    own = [pa.array([row[number] for row in found], kind) for number, kind in enumerate(columns.values())]
    return pa.table(own, names=list(columns))


def _metric_rows(pair: Pair) -> Iterator[tuple[Any, ...]]:
    values, others, intervals = pair.metrics()
    for name, value in values.items():
        other = others[name]
        if name != "n" and value is not None and other is not None:
            low, high = intervals.ends.get(name) or (None, None)
            why = "" if low is not None else intervals.reasons.get(name, "no formula for its interval")
            part = pair.reference.part
            yield pair.other.name, name, part, len(pair.song_ids), value, other, other - value, low, high, why


def _class_rows(pair: Pair) -> Iterator[tuple[Any, ...]]:
    for name, n, first, second, ends in pair.class_gains():
        yield pair.other.name, name, n, first, second, second - first, *(ends or (None, None))


def _floor(row: RunRow) -> tuple[str, float | None, float | None, float | None]:
    accuracy = row.metrics.get("accuracy", (None,))[0]
    difference = None if accuracy is None or row.floor is None else accuracy - row.floor
    return row.name, accuracy, row.floor, difference


def _settings(rows: Sequence[RunRow]) -> pa.Table:
    shown = shown_settings(rows, False)
    columns = {_SETTING: pa.array(shown, _TEXT)}
    for row in rows:
        columns[row.name] = pa.array(
            [None if (own := row.settings.get(one)) is None else str(own) for one in shown], _TEXT
        )
    return pa.table(columns)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return a different name for each folder: its own, or the path where two have the same."""
    short = [plain_name(folder.absolute().name) for folder in folders]
    if len(set(short)) == len(short) and _SETTING not in short:
        return short
    paths = [plain_name(str(folder)) for folder in folders]
    unclear = {_SETTING, *(path for path in paths if paths.count(path) > 1)}
    return [f"{path} ({number})" if path in unclear else path for number, path in enumerate(paths, 1)]
