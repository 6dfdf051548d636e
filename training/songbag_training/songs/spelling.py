"""Names of classes that are probably mistakes: one name written in several ways, and texts that stand for no label."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from songbag_store.terminal import is_invisible, spelled
from songbag_store.words import counted

_MOST_CLASSES = 100_000
"""With more classes than this nothing can be learned, and looking at each name takes long."""
_MOST_SHOWN = 5
_SEPARATORS = "|;"
"""A comma or a slash is found in many a name that is one."""
_MOST_IN_A_GROUP = 4

_NO_LABELS = frozenset(
    {"nan", "<na>", "na", "n/a", "#n/a", "n.a.", "n.a", "nat", "none", "null", "nil", "undefined", "unknown"}
    | {"missing", "empty", "(none)", "(null)", "[none]", "<none>", "<null>", "\\n", "[]", "{}", "()", "''", '""'}
)
"""What pandas, R, SQL and people write where there is no value, in small letters."""
_STROKES = "-\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}_?.*#/\\~|;:"


def doubtful_names(counts: Mapping[str, int], column: str) -> list[str]:
    """Return what is probably wrong with the names of classes, each with what to do.

    Parameters
    ----------
    counts : mapping of str to int
        Songs of each class.
    column : str
        Column of the labels.
    """
    if len(counts) > _MOST_CLASSES:
        return []
    remedy = "`songbag relabel` corrects them, and `where` leaves songs out"
    notes = []
    if alike := _written_alike(counts):
        shown = "; ".join(told(group, _MOST_IN_A_GROUP) for group in alike[:_MOST_SHOWN])
        more = f"; and {counted(len(alike) - _MOST_SHOWN, 'more name')}" if len(alike) > _MOST_SHOWN else ""
        what = f"classes in {column!r} that differ only in case, spaces or Unicode form"
        notes.append(f"{what}: {shown}{more}. {remedy}")
    if empty := {name: n for name, n in counts.items() if means_nothing(name)}:
        notes.append(f"texts in {column!r} that are probably no labels: {told(empty)}. {remedy}")
    return notes


def likely_lists(counts: Mapping[str, int], column: str) -> list[str]:
    """Return a note if names of classes look like several names with a separator between them."""
    for separator in _SEPARATORS if len(counts) <= _MOST_CLASSES else "":
        cut = {name: [one for piece in name.split(separator) if (one := piece.strip())] for name in counts}
        lists = [name for name, pieces in cut.items() if len(pieces) > 1]
        held = Counter(piece for pieces in cut.values() for piece in set(pieces))
        # A list shares its pieces with other names; a name that merely has the character in it does not.
        shared = [name for name in lists if any(held[piece] > 1 for piece in cut[name])]
        if shared:
            like = "looks like a list" if len(shared) == 1 else "look like lists"
            what = f"{counted(len(shared), 'class')} in {column!r} {like}, such as {spelled(shared[0])}"
            return [f"{what}: `label_separator={separator!r}` reads them as several classes"]
    return []


def respelled(names: Collection[str], known: Collection[str]) -> list[tuple[str, str]]:
    """Return the names that are written like known ones but for case, spaces and Unicode form, each with that one."""
    own = {_key(name): name for name in known}
    return [(name, own[key]) for name in names if (key := _key(name)) in own]


def told(counts: Mapping[str, int], most: int = 8) -> str:
    """Return the first classes with their numbers of songs, and how many more there are."""
    shown = ", ".join(f"{spelled(name)} ({n} song{'s' * (n != 1)})" for name, n in list(counts.items())[:most])
    return shown + (f" and {len(counts) - most} more" if len(counts) > most else "")


def means_nothing(name: str) -> bool:
    """Return whether a name is probably no label: text for a missing value, only strokes, or nothing visible."""
    key = _key(name)
    return key in _NO_LABELS or not key.strip(_STROKES)


def _written_alike(counts: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the classes that are one name written in several ways, those with most songs first."""
    groups: dict[str, dict[str, int]] = defaultdict(dict)
    for name, n in counts.items():
        groups[_key(name)][name] = n
    found = [dict(sorted(group.items(), key=lambda one: -one[1])) for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: -sum(group.values()))


def _key(name: str) -> str:
    """Return a name without what people do not mean by it: case, spaces, invisible characters, form of its letters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in folded if not (c.isspace() or is_invisible(c)))
