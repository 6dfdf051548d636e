"""Runs over each other: learning curves, and parallel coordinates of their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from songbag_store.pages.pieces import Axis, Block, Chart, Layer
from songbag_store.pages.songs import shown_values
from songbag_store.storage.files import within
from songbag_training.comparison.row import RunRow
from songbag_training.pages.material import Missing, read_history
from songbag_training.runs.document import RUN

MOST_POINTS = 50_000
"""Numbers of all curves of a chart; of longer ones some epochs are drawn."""

_COLOURS = 8
_MOST_RUNS = 200
_MOST_LABELS = 4
_LONGEST_LABEL = 12
_LONGEST_TIP = 40
_MOST_AXES = 20
_CURVES = {
    "Loss by epoch": ("val_loss", "loss"),
    "Accuracy by epoch": ("val_accuracy", "accuracy"),
    "Balanced accuracy of the validation songs by epoch": ("val_balanced_accuracy",),
    "Macro F1 of the validation songs by epoch": ("val_macro_f1",),
    "Average precision of the validation songs by epoch": ("val_average_precision",),
}

History = Mapping[str, Sequence[float | None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """How each run is drawn: the first and the best seven in colours and with a name, all others in grey."""

    names: list[str]
    colours: list[int]

    @classmethod
    def of(cls, rows: Sequence[RunRow]) -> Self:
        """Return the look of runs."""
        best = sorted(range(1, len(rows)), key=lambda at: -(_accuracy(rows[at]) or 0.0))[: _COLOURS - 1]
        colour = {at: number for number, at in enumerate([0, *sorted(best)])}
        return cls(shown_values([row.name for row in rows]), [colour.get(at, -1) for at in range(len(rows))])

    def legend(self, at: int) -> str:
        """Return the name of a run in the legend."""
        return self.names[at] if self.colours[at] >= 0 else ""

    def order(self) -> list[int]:
        """Return the runs in the order of drawing: grey ones first, so that they lie below; at most 200."""
        coloured = [at for at, colour in enumerate(self.colours) if colour >= 0]
        grey = [at for at, colour in enumerate(self.colours) if colour < 0]
        return [*grey[: _MOST_RUNS - len(coloured)], *coloured]


def _accuracy(row: RunRow) -> float | None:
    return row.metrics.get("accuracy", (None, None, None))[0]


def curves(folders: Sequence[Path], look: Look, missing: Missing) -> list[Block]:
    """Return the learning curves of runs over each other; of a cross-validation the mean of its folds."""
    histories = {}
    for at in look.order():
        what = f"The learning curves of {look.names[at]} are missing"
        if history := missing.tried(what, partial(_history, folders[at])):
            histories[at] = history
    blocks: list[Block] = []
    most = max(2, MOST_POINTS // (2 * max(len(histories), 1)))
    for number, (words, names) in enumerate(_CURVES.items()):
        layers = []
        for at, history in histories.items():
            there = [name for name in names if any(one is not None for one in history.get(name, ()))]
            layers += [_curve(look, at, history, name, most) for name in there]
        if layers:
            dashed = ": of validation songs, and dashed of training songs" if len(names) > 1 else ""
            blocks.append(Chart(f"curve-{number}", f"{words}{dashed}.", layers, Axis("epoch", counts=True)))
    return blocks


def _curve(look: Look, at: int, history: History, name: str, most: int) -> Layer:
    is_training = not name.startswith("val_")
    step = -(-len(history["epoch"]) // most)
    columns: dict[str, Sequence[Any]] = {"x": history["epoch"][::step], "y": history[name][::step]}
    columns["name"] = [_brief(look.names[at])] * len(columns["x"])  # in a tip itself, @ and $ would be a pattern
    tips = (("", "@name"), ("epoch", "@x"), ("training" if is_training else "validation", "@y{0.000}"))
    return Layer("line", columns, "" if is_training else look.legend(at), look.colours[at], is_training, tips)


def _brief(name: str) -> str:
    return name if len(name) <= _LONGEST_TIP else f"{name[: _LONGEST_TIP // 2 - 1]}…{name[-_LONGEST_TIP // 2 :]}"


def _history(folder: Path) -> History:
    """Return the history of a run, or the mean of those of the folds of a cross-validation."""
    if (folder / RUN).exists():
        return read_history(folder)
    folds = [read_history(fold) for fold in within(folder, "fold-*")]
    folds = [fold for fold in folds if fold]
    epochs = sorted({epoch for fold in folds for epoch in fold["epoch"] if epoch is not None})
    mean: dict[str, list[float | None]] = {"epoch": list(epochs)}
    for name in dict.fromkeys(name for fold in folds for name in fold if name != "epoch"):
        of = [dict(zip(fold["epoch"], fold[name], strict=True)) for fold in folds if name in fold]
        known = [[own[epoch] for own in of if own.get(epoch) is not None] for epoch in epochs]
        mean[name] = [sum(own) / len(own) if own else None for own in known]  # type: ignore[arg-type]
    return mean


def parallel(rows: Sequence[RunRow], settings: Sequence[str], look: Look) -> list[Block]:
    """Return parallel coordinates: an axis a setting that differs, the last the accuracy, and a line a run.

    The values of a setting lie in their order at equal distances: learning rates are often powers.
    """
    named = [name for name in settings if any(row.settings.get(name) is not None for row in rows)][:_MOST_AXES]
    if not named:
        return []
    axes = [_ranked([row.settings.get(name) for row in rows]) for name in named]
    accuracies = [_accuracy(row) for row in rows]
    metric = _scaled(accuracies)
    titles = [*named]
    if metric is not None:
        axes.append(metric)
        titles.append("accuracy")
    layers = [Layer("line", {"x": [0, 1], "y": [number, number]}, colour=-1) for number in range(len(axes))]
    for at in look.order():
        told = [(axis[0][at], number) for number, axis in enumerate(axes) if axis[0][at] is not None]
        columns: dict[str, list[Any]] = {"x": [x for x, _ in told], "y": [number for _, number in told]}
        layers.append(Layer("line", columns, look.legend(at), look.colours[at]))
        columns = columns | {
            "name": [look.names[at]] * len(told),
            "setting": [titles[number] for _, number in told],
            "value": [axes[number][1][at] for _, number in told],
        }
        tips = (("", "@name"), ("", "@setting: @value"))
        layers.append(Layer("points", columns, colour=look.colours[at], tips=tips))
    layers.append(_labels([axis[2] for axis in axes]))
    words = "A line is a run, a row is a setting; values lie in their order. The last row is the accuracy as reported."
    if metric is None:
        words = "A line is a run, a row is a setting; values lie in their order."
    y = Axis("", (len(axes) - 0.4, -0.6), titles)
    x = Axis("", (-0.12, 1.12), [])
    return [Chart("parallel", words, layers, x, y, min(90 + 58 * len(axes), 1300))]


Scale = tuple[list[float | None], list[str], list[tuple[float, str]]]
"""Of each run its place from 0 to 1 and its text; and the labels of an axis with their places."""


def _ranked(values: Sequence[Any]) -> Scale:
    texts = shown_values(
        ["not set" if one is None else f"{one:.5g}" if isinstance(one, float) else one for one in values]
    )
    first = dict(zip(texts, values, strict=True))
    order = sorted(first, key=lambda text: _key(first[text], text))
    last = max(len(order) - 1, 1)
    place = {text: number / last for number, text in enumerate(order)}
    shown = order
    if len(order) > _MOST_LABELS:
        shown = [order[0], order[last // 2], order[-1]]
    return [place[text] for text in texts], texts, [(place[text], text) for text in shown]


def _key(value: Any, text: str) -> tuple[int, float, str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0 if value is None else 1 if is_number else 2), float(value) if is_number else 0.0, text


def _scaled(values: Sequence[float | None]) -> Scale | None:
    known = [one for one in values if one is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    places = [None if one is None else (one - low) / (high - low) if high > low else 0.5 for one in values]
    labels = [(0.0, f"{low:.3f}"), (1.0, f"{high:.3f}")] if high > low else [(0.5, f"{low:.3f}")]
    return places, ["-" if one is None else f"{one:.3f}" for one in values], labels


def _labels(axes: Sequence[list[tuple[float, str]]]) -> Layer:
    told = [(x, number - 0.2, text) for number, axis in enumerate(axes) for x, text in axis]
    texts = [text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…" for _, _, text in told]
    return Layer("text", {"x": [x for x, _, _ in told], "y": [y for _, y, _ in told], "text": texts})
