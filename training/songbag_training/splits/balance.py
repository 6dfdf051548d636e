"""How many songs of each class are in each subset, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from songbag_store.terminal import cells, fitted, plain_name
from songbag_training.splits.split import Split, balance

_MOST_ROWS = 40
_MOST_COLUMNS = 12
_WIDEST = 40


def format_balance(split: Split, classes: Sequence[str]) -> str:
    """Return the balance as a table: a row for each class, a column for each subset.

    Of more than 40 classes the rarest are shown, and the sum of the others. Of more than 12 folds the fewest and the
    most songs of a class in a fold are shown.
    """
    own = balance(split, classes)
    rows: list[tuple[str, Mapping[str, int]]] = [(plain_name(name, _WIDEST), counts) for name, counts in own.items()]
    if len(rows) > _MOST_ROWS:
        order = sorted(range(len(rows)), key=lambda row: own[classes[row]].total())
        rare, common = sorted(order[: _MOST_ROWS - 1]), order[_MOST_ROWS - 1 :]
        others = sum((own[classes[row]] for row in common), Counter())
        rows = [*(rows[row] for row in rare), (f"{len(common):,} larger classes", others)]
    rows.append(("songs", split.counts()))
    heads = {subset: plain_name(subset, _WIDEST) for subset in split.counts()}
    if len(heads) > _MOST_COLUMNS:
        rows = [(name, _summary(counts, split.names)) for name, counts in rows]
        heads = {name: name for name in _summary({}, split.names)}
    widths = {subset: max(7, cells(head) + 2) for subset, head in heads.items()}
    wide = max(len("class"), *(cells(name) for name, _ in rows))
    lines = [("class", heads), *((name, {key: f"{counts.get(key, 0)}" for key in heads}) for name, counts in rows)]
    return "\n".join(
        fitted(name, wide) + "".join(fitted(shown[key], width, right=True) for key, width in widths.items())
        for name, shown in lines
    )


def _summary(counts: Mapping[str, int], folds: Sequence[str]) -> dict[str, int]:
    """Return the songs of all folds, and the fewest and the most of one."""
    of_folds = [counts.get(fold, 0) for fold in folds]
    return {"all folds": sum(of_folds), "fewest": min(of_folds), "most": max(of_folds)}
