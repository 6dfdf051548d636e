"""Words of messages: counted nouns, and what a user probably meant by a name that is not there."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from itertools import islice

from songbag_store.terminal import spelled

MOST_COMPARED = 20_000
"""Comparing a name with so many takes a fifth of a second."""
_LONGEST = 200


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 song``, ``2,000 songs``.

    Parameters
    ----------
    n : int
        How many.
    noun : str
        For one, perhaps with more words: ``song was``.
    plural : str
        For any other number; by default the noun with ``s``, ``es`` or ``ies``.

    Examples
    --------
    >>> counted(1, "class"), counted(1200, "class"), counted(2, "copy"), counted(0, "song was", "songs were")
    ('1 class', '1,200 classes', '2 copies', '0 songs were')
    """
    return f"{n:,} {noun if n == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "sh", "tch")):
        return f"{noun}es"
    is_copy = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{noun[:-1]}ies" if is_copy else f"{noun}s"


def likely(name: str, known: Collection[str]) -> list[str]:
    """Return at most three of some names that a user probably meant by another one, the likeliest first.

    Case counts for nothing. Of very many names the first 20,000 are compared.
    """
    folded: dict[str, str] = {}
    for one in islice(known, MOST_COMPARED):
        folded.setdefault(one[:_LONGEST].casefold(), one)
    return [folded[one] for one in get_close_matches(name[:_LONGEST].casefold(), folded)]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return ``Did you mean 'genre'?``, or an empty text if no known name is like this one."""
    return question(likely(name, known))


def question(names: Collection[str]) -> str:
    """Return ``Did you mean 'a' or 'b'?``; an empty text without names."""
    return f"Did you mean {' or '.join(map(spelled, names))}?" if names else ""
