"""Metrics as text for the terminal, and the confusion matrix as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from songbag_store.storage.files import replacing
from songbag_store.terminal import plain_text
from songbag_training.evaluation.leaks import leak_lines
from songbag_training.types import Ints

_MOST_CLASSES = 40
_MISTAKES = 5
_MOST_NUMBERS = 25
_MOST_NAMES = 60
_LONGEST_NAME = 24


def format_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the metrics of songs and windows of all subsets as a table."""
    subsets = {subset: of for subset, of in metrics.items() if "song" in of}
    names = [name for name in next(iter(subsets.values()))["song"] if name != "n"]
    rows = [(subset, of["song"]) for subset, of in subsets.items()]
    rows += [(f"{subset}, windows", of["window"]) for subset, of in subsets.items()]
    return format_table("", rows, names)


def format_table(head: str, rows: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> str:
    """Return named rows of metrics as a table: `n`, if a row has it, and the metrics in `names`."""
    wide = max(len(head), *(len(name) for name, _ in rows))
    widths = {name: max(7, len(name) + 2) for name in names}
    lines = [f"{head:<{wide}}{'n':>8}" + "".join(f"{name:>{width}}" for name, width in widths.items())]
    for name, own in rows:
        shown = ["-" if own[key] is None else f"{own[key]:.3f}" for key in names]
        cells = "".join(f"{value:>{width}}" for value, width in zip(shown, widths.values(), strict=True))
        lines.append(f"{name:<{wide}}{own.get('n', ''):>8}{cells}")
    return "\n".join(lines)


def format_judgement(metrics: Mapping[str, Any]) -> str:
    """Return the intervals, the suspected leaks and the most confident mistakes of a subset as text."""
    lines = []
    for name, interval in metrics["intervals"].items():
        if interval is not None:
            value = metrics["song"][name]
            how = "bootstrap over songs" if 0 < value < 1 else "exact binomial, as all songs are alike"
            lines.append(f"{name} {value:.3f}, 95 % between {interval[0]:.3f} and {interval[1]:.3f} ({how})")
    lines += leak_lines(metrics)
    mistakes = metrics["mistakes"][:_MISTAKES]
    if mistakes:
        lines += ["", "surest mistakes:"]
    for one in mistakes:
        label = one["label"] if isinstance(one["label"], str) else ", ".join(one["label"]) or "none"
        song_id, label, said = map(plain_text, (one["song_id"], label, one["said"]))
        lines.append(f"  {song_id}: {label}, said to be {said} ({one['probability']:.0%})")
    return "\n".join(lines)


def format_confusion(matrix: Ints, classes: Sequence[str]) -> str:
    """Return a confusion matrix as text: rows are true classes, columns are predicted classes, by the rows' numbers.

    More than 40 classes are too wide for a terminal; the text then names the files that show them.
    """
    if len(classes) > _MOST_CLASSES:
        return f"{len(classes)} classes: see confusion.png, and confusion in metrics.json"
    classes = [plain_text(name) for name in classes]
    width = max(map(len, classes))
    cell = max(4, len(str(int(matrix.max(initial=0)))) + 1, len(str(len(classes))) + 1)
    numbers = "".join(f"{number:>{cell}}" for number in range(1, len(classes) + 1))
    lines = [f"{'true class':<{width + 4}}{numbers}   <- predicted"]
    for number, (name, row) in enumerate(zip(classes, matrix.tolist(), strict=True), 1):
        lines.append(f"{number:>3} {name:<{width}}" + "".join(f"{count or '.':>{cell}}" for count in row))
    return "\n".join(lines)


def draw_confusion(matrix: Ints, classes: Sequence[str], path: Path, *, title: str) -> None:
    """Draw a confusion matrix as PNG: rows are true classes, columns are predicted classes.

    A cell is as dark as its share of the true class, so rare classes are as visible as common ones. With up to 25
    classes the cells show the counts.

    Parameters
    ----------
    matrix : int64, shape (n_classes, n_classes)
    classes : sequence of str
        Shown literally, not as formulas.
    path : pathlib.Path
        The .png file, written completely or not at all.
    title : str
        Name of the songs.
    """
    # Not pyplot: it would open a window and change the state of the process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n = len(classes)
    side = min(4.0 + 0.42 * n, 24.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if n <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(int(count)), ha="center", va="center", color=colour)
    names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in classes]
    if n <= _MOST_NAMES:
        axes.set_xticks(range(n), names, rotation=90, parse_math=False)
        axes.set_yticks(range(n), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    with replacing(path) as temporary, warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
