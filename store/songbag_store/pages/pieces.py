"""Blocks of a page: words, facts, figures, charts, tables, matrices. Each knows its HTML and its data for the script.

Markup is made by Jinja2 with autoescape, data is JSON: no text of a block is read as markup.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

LayerKind = Literal["line", "step", "band", "bars", "points", "text"]
ColumnKind = Literal["text", "number", "share"]


class Block(Protocol):
    """What a section holds."""

    @property
    def template(self) -> str:
        """Name of the macro in ``page.html.j2`` that draws it."""

    def data(self) -> tuple[str, str, Any] | None:
        """Return ``(kind, key, value)`` for the script: its value is JSON under `kind` and `key`; None without data."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Still:
    """A block without data for the script."""

    @property
    def template(self) -> str:
        return type(self).__name__.lower()

    def data(self) -> tuple[str, str, Any] | None:
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Words(_Still):
    """A paragraph; a `note` says what is missing or to be minded."""

    text: str
    note: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Items(_Still):
    """A list of sentences."""

    lines: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Facts(_Still):
    """Names and values, one below the other."""

    rows: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Command(_Still):
    """A command to copy."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A number that is read first: its name, its text, a line below it; and where it lies between 0 and 1."""

    name: str
    value: str
    note: str = ""
    interval: tuple[float, float, float] | None = None
    """Lower end, value, upper end, each from 0 to 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figures(_Still):
    """Some figures side by side."""

    figures: Sequence[Figure]


@dataclasses.dataclass(frozen=True, slots=True)
class Place(_Still):
    """An empty place, with an id, that the page's own script fills."""

    key: str
    words: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart.

    Attributes
    ----------
    label : str
    ends : tuple of float, optional
        Lowest and highest value shown; by default all.
    names : sequence of str, optional
        What stands at 0, 1, 2, ... instead of numbers.
    counts : bool
        Whether it counts something: only whole numbers are marked.
    """

    label: str = ""
    ends: tuple[float, float] | None = None
    names: Sequence[str] | None = None
    counts: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """What a chart draws once.

    Attributes
    ----------
    kind : str
        ``line`` and ``step`` (columns x, y), ``points`` (x, y), ``band`` (x, low, high), ``bars`` (left, right,
        bottom, top), ``text`` (x, y, text).
    columns : mapping of str to sequence
        Numbers; further columns are for `tips`.
    name : str
        In the legend; without a name it is not in there.
    colour : int
        0 to 7, or -1 for a quiet grey.
    dashed : bool
    tips : sequence of (str, str)
        What is shown where the pointer is: a name, and ``@column`` with a format of Bokeh, such as ``@y{0.00}``.
    choose : bool
        Whether a click on an item calls the page's script, see ``songbag.onItem`` in ``page.js``.
    colours : sequence of int, optional
        Of each item, instead of `colour`.
    """

    kind: LayerKind
    columns: Mapping[str, Sequence[Any]]
    name: str = ""
    colour: int = 0
    dashed: bool = False
    tips: Sequence[tuple[str, str]] = ()
    choose: bool = False
    colours: Sequence[int] | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the layer as JSON types."""
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return fields | {"columns": {name: plain(values) for name, values in self.columns.items()}}


@dataclasses.dataclass(frozen=True, slots=True)
class Chart(_Still):
    """A chart, drawn by Bokeh in the browser. `words` say what it shows, also to those who cannot see it."""

    key: str
    words: str
    layers: Sequence[Layer]
    x: Axis = Axis()
    y: Axis = Axis()
    height: int = 280

    def data(self) -> tuple[str, str, Any] | None:
        layers = [layer.as_data() for layer in self.layers]
        axes = {"x": dataclasses.asdict(self.x), "y": dataclasses.asdict(self.y)}
        return "charts", self.key, {"layers": layers, "height": self.height, "words": self.words, **axes}


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: text, a number, or a share from 0 to 1."""

    title: str
    values: Sequence[Any]
    kind: ColumnKind = "text"

    def as_data(self) -> dict[str, Any]:
        """Return the column as JSON types; text that comes again and again is written once."""
        own: dict[str, Any] = {"title": self.title, "kind": self.kind}
        if self.kind == "text" and len(names := list(dict.fromkeys(self.values))) * 2 < len(self.values):
            number = {name: position for position, name in enumerate(names)}
            return own | {"names": names, "values": [number[value] for value in self.values]}
        return own | {"values": plain(self.values)}


@dataclasses.dataclass(frozen=True, slots=True)
class Table(_Still):
    """A table that is sorted by a click on a heading, searched by a word, and shown some rows at a time.

    With `choose` the first column is a button that calls the page's script, see ``songbag.onChoose`` in ``page.js``.
    """

    key: str
    words: str
    columns: Sequence[Column]
    choose: bool = False
    rows: int = 15

    def data(self) -> tuple[str, str, Any] | None:
        own = {"choose": self.choose, "rows": self.rows, "words": self.words}
        return "tables", self.key, own | {"columns": [column.as_data() for column in self.columns]}


@dataclasses.dataclass(frozen=True, slots=True)
class Matrix(_Still):
    """Counts of pairs; a click on a cell calls the page's script, see ``songbag.onCell`` in ``page.js``."""

    key: str
    words: str
    names: Sequence[str]
    counts: Sequence[Sequence[int]]
    rows_are: str = "label"
    columns_are: str = "answer"

    def shade(self, row: int, column: int) -> int:
        """Return the share of its row that a cell has, in percent."""
        return round(100 * self.counts[row][column] / max(sum(self.counts[row]), 1))


def plain(values: Iterable[Any]) -> list[Any]:
    """Return values as JSON types: numbers rounded to 5 digits, None for NaN and infinity."""
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
