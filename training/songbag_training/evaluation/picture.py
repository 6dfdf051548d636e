"""The confusion matrix as a picture."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from songbag_store.storage.files import replacing
from songbag_store.terminal import is_invisible, plain_name
from songbag_training.types import Ints

_MOST_NUMBERS = 25
_MOST_NAMES = 60
_LONGEST_NAME = 24
_TICKS = 30
_MOST_FONTS = 60
_LARGE_FONTS = re.compile(
    r"cjk|noto|unifont|droid|wenquanyi|wqy|han|hei|ming|mincho|gothic|gulim|nanum|batang|ipa|takao|vl|uming|ukai"
    r"|unicode|symbola|quivira|freesans|freeserif|lohit|gnu|emoji",
    re.IGNORECASE,
)
"""Fonts with such names hold scripts that the usual ones lack; they are looked at first."""


def draw_confusion(matrix: Ints, classes: Sequence[str], path: Path, *, title: str) -> None:
    """Draw a confusion matrix as PNG: rows are true classes, columns are predicted classes.

    A cell is as dark as its share of the true class, so rare classes are as visible as common ones. With up to 25
    classes the cells show the counts. A class whose name no font of this machine can draw is shown by its number, and
    so are more than 60 classes.

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
    places, names, families = ticks(classes)
    axes.set_xticks(places, names, rotation=90, parse_math=False, fontfamily=families)
    axes.set_yticks(places, names, parse_math=False, fontfamily=families)
    by_number = any(name == f"#{place + 1}" for place, name in zip(places, names, strict=True))
    axes.set_xlabel("predicted; # counts the classes in run.json" if by_number else "predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})


def ticks(classes: Sequence[str]) -> tuple[list[int], list[str], list[str]]:
    """Return which classes are named, their names or numbers, and the fonts for them."""
    if len(classes) > _MOST_NAMES:
        places = list(range(0, len(classes), -(-len(classes) // _TICKS)))
        return places, [f"#{place + 1}" for place in places], _fonts_for(set())[0]
    shown = [plain_name(name, _LONGEST_NAME) for name in classes]
    families, missing = _fonts_for(set().union(*shown))
    names = [f"#{number}" if missing & set(name) else name for number, name in enumerate(shown, 1)]
    return list(range(len(classes))), names, families


def _fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Return fonts that draw some letters, matplotlib's own first, and the letters that none of them has."""
    from matplotlib import font_manager

    usual = font_manager.findfont(font_manager.FontProperties())
    families = [font_manager.FontProperties(fname=usual).get_name()]
    missing = {letter for letter in letters if not is_invisible(letter)}
    missing -= _drawn(usual, missing)
    if not missing:
        return families, missing
    # The font of last resort, which comes with matplotlib, draws a box for each letter.
    listed = (one for one in font_manager.fontManager.ttflist if "last resort" not in one.name.casefold())
    plain = [one for one in listed if one.style == "normal" and one.name not in families]
    for font in sorted(plain, key=lambda one: (not _LARGE_FONTS.search(one.name), one.weight != 400))[:_MOST_FONTS]:
        found = _drawn(font.fname, missing)
        if found:
            families.append(font.name)
            missing -= found
        if not missing:
            break
    return families, missing


def _drawn(path: str, letters: set[str]) -> set[str]:
    """Return those of some letters that a font can draw, in any size."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        font.set_size(10, 72)
        known = font.get_charmap()
    except (OSError, RuntimeError, ValueError):  # a font of pictures, or a damaged one
        return set()
    return {letter for letter in letters if ord(letter) in known}
