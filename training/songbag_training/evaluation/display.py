"""Metrics and the confusion matrix as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from songbag_store.terminal import cells, fitted, plain_name, plain_text
from songbag_training.evaluation.headline import interval_lines
from songbag_training.evaluation.leaks import leak_lines
from songbag_training.types import Ints

_MOST_CLASSES = 40
_MOST_PAIRS = 20
_MISTAKES = 5
_WIDEST = 40


def format_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the metrics of songs and windows of all subsets as a table."""
    subsets = {subset: of for subset, of in metrics.items() if "song" in of}
    names = [name for name in next(iter(subsets.values()))["song"] if name != "n"]
    rows = [(subset, of["song"]) for subset, of in subsets.items()]
    rows += [(f"{subset}, windows", of["window"]) for subset, of in subsets.items() if "window" in of]
    for subset, of in subsets.items():
        rows += [(f"{subset}, {name}", own) for name, own in of.get("learners", {}).items()]
    rows += [(f"{subset}, labelled", of["window_labels"]) for subset, of in subsets.items() if "window_labels" in of]
    return format_table("", rows, names)


def format_table(head: str, rows: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> str:
    """Return named rows of metrics as a table: `n`, if a row has it, and the metrics in `names`."""
    rows = [(plain_name(name, _WIDEST), own) for name, own in rows]
    wide = max(cells(head), *(cells(name) for name, _ in rows))
    widths = {name: max(7, len(name) + 2) for name in names}
    lines = [f"{fitted(head, wide)}{'n':>8}" + "".join(f"{name:>{width}}" for name, width in widths.items())]
    for name, own in rows:
        shown = ["-" if own[key] is None else f"{own[key]:.3f}" for key in names]
        values = "".join(f"{value:>{width}}" for value, width in zip(shown, widths.values(), strict=True))
        lines.append(f"{fitted(name, wide)}{own.get('n', ''):>8}{values}")
    return "\n".join(lines)


def format_judgement(metrics: Mapping[str, Any]) -> str:
    """Return the intervals, the suspected leaks and the most confident mistakes of a subset as text."""
    lines = interval_lines(metrics) + leak_lines(metrics)
    mistakes = metrics["mistakes"][:_MISTAKES]
    if mistakes:
        lines += ["", "surest mistakes:"]
    for one in mistakes:
        label = one["label"] if isinstance(one["label"], str) else ", ".join(one["label"]) or "none"
        label, said = plain_name(label, _WIDEST), plain_name(one["said"], _WIDEST)
        lines.append(f"  {plain_text(one['song_id'])}: {label}, said to be {said} ({one['probability']:.0%})")
    return "\n".join(lines)


def format_confusion(matrix: Ints, classes: Sequence[str]) -> str:
    """Return a confusion matrix as text: rows are true classes, columns are predicted classes, by the rows' numbers.

    More than 40 classes are too wide for a terminal; then the pairs of classes that are most often confused are listed.
    """
    shown = [plain_name(name, _WIDEST) for name in classes]
    if len(classes) > _MOST_CLASSES:
        return "\n".join(
            [f"{len(classes)} classes: see confusion.png, and confusion in metrics.json", *_pairs(matrix, shown)]
        )
    width = max(map(cells, shown))
    cell = max(4, len(str(int(matrix.max(initial=0)))) + 1, len(str(len(classes))) + 1)
    numbers = "".join(f"{number:>{cell}}" for number in range(1, len(classes) + 1))
    lines = [f"{fitted('true class', width + 4)}{numbers}   <- predicted"]
    for number, (name, row) in enumerate(zip(shown, matrix.tolist(), strict=True), 1):
        lines.append(f"{number:>3} {fitted(name, width)}" + "".join(f"{count or '.':>{cell}}" for count in row))
    return "\n".join(lines)


def _pairs(matrix: Ints, shown: Sequence[str]) -> list[str]:
    """Return the pairs of classes that are confused most often as lines of a table."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    found = [
        (true, said) for true, said in zip(*map(np.ndarray.tolist, np.unravel_index(order, wrong.shape)), strict=True)
    ]
    found = [(true, said) for true, said in found if wrong[true, said]]
    if not found:
        return ["no song is said to be of another class"]
    named = [f"{number} {name}" for number, name in enumerate(shown, 1)]
    wide = max(len("true class"), *(cells(named[true]) for true, _ in found))
    lines = ["", "most confused:", f"{'songs':>7}{'of':>7}  {fitted('true class', wide)}  said to be"]
    for true, said in found:
        counts = f"{wrong[true, said]:>7}{matrix[true].sum():>7}"
        lines.append(f"{counts}  {fitted(named[true], wide)}  {named[said]}")
    return lines
