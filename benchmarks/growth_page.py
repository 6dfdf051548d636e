"""The table and the plot of benchmarks/growth.py, made from its JSON and from nothing else."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "scale.md"
PLOT = ROOT / "docs" / "assets" / "growth.svg"
_BEGIN, _END = "<!-- growth -->\n", "<!-- end of growth -->\n"
_LEAST_S = 0.01
"""A shorter time is not part of a fit: it is mostly the clock's and the machine's own."""

Grown = Mapping[str, Mapping[int, float]]


def exponents(values: Mapping[int, float], least: float = 0.0) -> tuple[float, float] | None:
    """Return p of songs ** p by least squares, and that of the largest two sizes; None of fewer than two sizes."""
    kept = sorted((songs, value) for songs, value in values.items() if value > least)
    if len(kept) < 2:
        return None
    songs, grown = np.log(np.array(kept, float)).T
    return float(np.polyfit(songs, grown, 1)[0]), float((grown[-1] - grown[-2]) / (songs[-1] - songs[-2]))


def table(found: dict[str, Any]) -> str:
    """Return the table of a result."""
    grown, units = _by_what(found)
    sizes = sorted({point["songs"] for point in found["points"]})
    lines = [f"| what | {' | '.join(f'{size:,}' for size in sizes)} | exponent | of the last decade |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    for what, values in grown.items():
        cells = [_text(values.get(size), units[what]) for size in sizes]
        fitted = exponents(values, _LEAST_S if units[what] == "s" else 0.0) if units[what] else None
        cells += [f"{p:.2f}" for p in fitted] if fitted else ["", ""]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_page(result: Path, *, replace: bool) -> None:
    """Print the table of a result; put it and the plot into the documentation, if wanted."""
    found = json.loads(result.read_text())
    text = table(found)
    print(text)
    if replace:
        page = PAGE.read_text()
        before, rest = page.split(_BEGIN)
        machine = found["machine"]
        about = f"On {machine['cores']} cores ({machine['processor']}), {machine['memory_bytes'] / 2**30:.0f} GiB:\n\n"
        image = f"\n![How costs grow with the songs](../assets/{PLOT.name})\n"
        PAGE.write_text(before + _BEGIN + about + text + image + _END + rest.split(_END)[1])
        PLOT.write_text(plot(found))


def plot(found: dict[str, Any]) -> str:
    """Return the plot as SVG, of the same bytes every time: each row divided by what it is at the smallest size."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    grown, units = _by_what(found)
    shown = {what: values for what, values in grown.items() if units[what] and len(values) > 1}
    figure = Figure(figsize=(9, 6), layout="tight")
    axes = figure.add_subplot()
    for number, (what, values) in enumerate(shown.items()):
        sizes = sorted(values)
        style = ("-", "--", ":", "-.")[number // 10 % 4]
        axes.loglog(sizes, [values[n] for n in sizes], style, marker=".", linewidth=1, label=f"{what} ({units[what]})")
    axes.set_xlabel("songs")
    axes.set_ylabel("seconds, bytes")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "songbag", "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(out, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _by_what(found: dict[str, Any]) -> tuple[Grown, dict[str, str]]:
    grown: dict[str, dict[int, float]] = defaultdict(dict)
    units = {}
    for point in found["points"]:
        grown[point["what"]][point["songs"]] = point["value"]
        units[point["what"]] = point["unit"]
    return grown, units


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "s":
        return f"{value:,.2f} s" if value < 100 else f"{value:,.0f} s"
    if unit == "B":
        return f"{value / 1e6:,.1f} MB" if value < 1e9 else f"{value / 1e9:,.2f} GB"
    return f"{value:,.0f}"


def above(found: dict[str, Any], most: float) -> Iterable[str]:
    """Yield what grows faster than asked."""
    grown, units = _by_what(found)
    for what, values in grown.items():
        fitted = exponents(values, _LEAST_S if units[what] == "s" else 0.0) if units[what] else None
        if fitted and max(fitted) > most:
            yield f"{what}: {fitted[0]:.2f}, {fitted[1]:.2f} in the last decade"
