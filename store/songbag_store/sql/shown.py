"""`Shown`: the `repr` of objects in a console and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from songbag_store.terminal import plain_text


class Shown:
    """Gives an object its `__repr__` and `_repr_html_` from one list of facts."""

    __slots__ = ()

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield names and values, the most important first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the facts on one line."""
        shown = ", ".join(f"{name} {_text(value)}" for name, value in self._facts())
        return f"<{type(self).__name__}: {shown}>"

    def _repr_html_(self) -> str:
        """Return the facts as a table, as notebooks show it."""
        return html_table(type(self).__name__, self._facts())


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return names and values as HTML, escaped because names come from other people's files."""
    cells = "".join(f"<tr><th>{_escaped(name)}</th><td>{_escaped(value)}</td></tr>" for name, value in rows)
    return f"<table><caption>{_escaped(title)}</caption>{cells}</table>"


def _escaped(value: object) -> str:
    return html.escape(_text(value))


def _text(value: object) -> str:
    """Return a value on one line, numbers as people write them."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else plain_text(str(value))
