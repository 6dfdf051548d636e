"""Pictures of results. matplotlib is drawn with directly, without pyplot: no window, no state of the process."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from songbag_training.files import replacing
from songbag_training.types import Ints

_MOST_NUMBERS = 25
_MOST_NAMES = 60
_LONGEST_NAME = 24


def draw_confusion(matrix: Ints, classes: Sequence[str], path: Path, *, title: str) -> None:
    """Draw a confusion matrix as PNG: rows are true classes, columns predicted ones.

    A cell is as dark as its share of the true class, so that rare classes are seen as well as common ones; up to 25
    classes the counts stand in the cells.

    Parameters
    ----------
    matrix : int64, shape (n_classes, n_classes)
    classes : sequence of str
        May hold anything: it is drawn as it is, not as a formula.
    path : pathlib.Path
        Of the .png file, written whole or not at all.
    title : str
        What the songs are.
    """
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
        # A script that the font does not have is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})
