"""A count of what is left out of a source."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict

from songbag_pipeline.sources.selection import Selection
from songbag_store.terminal import plain_text

_NAMED = 3


class Leftovers:
    """Counts what is left out of a source, by reason, with the first names.

    Parameters
    ----------
    selection : Selection
        What is taken.
    switches : bool
        Whether the user has arguments that change the selection, so that notes may name them.
    """

    def __init__(self, selection: Selection, *, switches: bool) -> None:
        self._selection, self._switches = selection, switches
        self._counts: dict[str, int] = defaultdict(int)
        self._names: dict[str, list[str]] = defaultdict(list)
        self._cut: set[str] = set()

    def add(self, reason: str, name: str) -> None:
        """Count an entry; `reason` is a plural noun."""
        self._counts[reason] += 1
        names = self._names[reason]
        if name not in names:
            insort(names, name)
        if len(names) > _NAMED:
            names.pop()
            self._cut.add(reason)

    def notes(self, hints: dict[str, str]) -> list[str]:
        """Return a note for each reason, those with a hint first, and for each pattern that has named nothing.

        Parameters
        ----------
        hints : dict of str to str
            By reason, the argument that takes these entries after all.
        """
        order = sorted(self._counts, key=lambda reason: (reason not in hints, reason))
        notes = [self._note(reason, hints.get(reason, "")) for reason in order]
        unused = self._selection.unused()
        return notes + [f"the pattern {_shown(one)!r} of `exclude` names nothing in the source" for one in unused]

    def _note(self, reason: str, hint: str) -> str:
        count, names = self._counts[reason], [_shown(name) for name in self._names[reason]]
        more = ", ..." if reason in self._cut else ""
        note = f"{reason} left out: {count:,} ({', '.join(names)}{more})"
        return f"{note}; {hint}" if hint and self._switches else note


def _shown(name: str) -> str:
    """Return a name on one line, with its bytes that are not UTF-8 escaped."""
    return plain_text(name.encode("utf-8", "surrogateescape").decode(errors="backslashreplace"))
