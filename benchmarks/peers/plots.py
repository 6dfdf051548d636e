"""The plot of a table: a bar for each contestant, with the spread, as SVG of the same bytes every time."""

from __future__ import annotations

import io
from typing import Any

_INCHES_A_BAR, _WIDTH = 0.3, 8.0
_OWN, _PEER = "#00897b", "#b0bec5"


def svg(table: dict[str, Any]) -> str:
    """Return the plot."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    column = table["columns"][0]
    rows = [row for row in table["rows"] if row["values"].get(column["key"]) is not None]
    figure = Figure(figsize=(_WIDTH, 1 + _INCHES_A_BAR * len(rows)), layout="tight")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        value = row["values"][column["key"]]
        middle, low, high = (value[k] for k in ("median", "low", "high")) if isinstance(value, dict) else (value,) * 3
        axes.barh(place, middle, color=_PEER if place else _OWN, height=0.7)
        axes.plot([low, high], [place, place], color="#37474f", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(column["title"] + (", more is better" if column["more_is_better"] else ", less is better"))
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    # Text as letters, not as outlines: the bytes depend on no font. Ids come from the salt, and no date is written.
    with mpl.rc_context({"svg.hashsalt": "songbag", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(out, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
