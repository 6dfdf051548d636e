"""The page of the benchmarks, docs/explanation/benchmarks.md, and its plots: from the JSON of results, nothing else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.peers import QUESTIONS, plots, results

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "benchmarks.md"
PLOTS = "../pictures/benchmarks"


def write(folder: Path = results.RESULTS, page: Path = PAGE) -> None:
    """Write the page and the plots, and delete plots of results that are no longer there."""
    pictures = page.parent / PLOTS
    for old in pictures.glob("*.svg"):
        old.unlink()
    found = {name: results.read(name, folder) for name in QUESTIONS}
    page.write_text(text(found))
    for name, result in found.items():
        for number, table in enumerate(result["tables"] if result else []):
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / f"{name}-{number}.svg").write_text(plots.svg(table))


def text(found: dict[str, dict[str, Any] | None]) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *(_section(name, result) for name, result in found.items())])


_HEAD = """# Benchmarks

songbag beside what one would use instead. `make bench-report` writes this page from the JSON in the folder
benchmarks/results, and from nothing else. To repeat it on your machine:

    make bench-install    # the peers, in environments of their own (some 9 GB)
    make bench            # make bench-quick: smaller sizes, some minutes
    make bench-report

All contestants of a table take turns in one run; those that wait are stopped. A number is the median of the rounds,
with the lowest and the highest in brackets. "songbag is" says how many times better songbag's first column is: the
median of the ratios of each round. A peer that is missing is listed below the tables, with the reason.
"""


def _section(name: str, result: dict[str, Any] | None) -> str:
    question = importlib.import_module(f"benchmarks.peers.{name}.question")
    lines = [f"## {question.TITLE}", "", (question.__doc__ or "").strip(), ""]
    if result is None:
        return "\n".join([*lines, "Not measured yet.", ""])
    machine = result["machine"]
    lines += [
        f"Measured on {result['measured_on']} at the scale {result['scale']}: {machine['processor']}, "
        f"{machine['cores']} cores, {number(machine['memory_bytes'], 'bytes')} of memory.",
        "",
    ]
    for position, table in enumerate(result["tables"]):
        lines += [f"### {table['title']}", "", table["about"], "", *_table(table), ""]
        lines += [f"![{table['columns'][0]['title']}]({PLOTS}/{name}-{position}.svg)", ""]
    lines += [f"- missing: {_cell(one['name'])}: {_cell(one['reason'])}" for one in result["missing"]]
    return "\n".join([*lines, ""] if result["missing"] else lines)


def _table(table: dict[str, Any]) -> list[str]:
    columns = [one for one in table["columns"] if any(one["key"] in row["values"] for row in table["rows"])]
    lines = ["| | " + " | ".join(one["title"] for one in columns) + " |"]
    lines.append("|---|" + "".join("---|" if one["form"] == "text" else "---:|" for one in columns))
    for row in table["rows"]:
        cells = [shown(row["values"].get(one["key"]), one["form"]) for one in columns]
        who = ", ".join(filter(None, [row["version"], row["note"]]))
        name = f"**{row['name']}**" if row is table["rows"][0] else row["name"]
        lines.append(f"| {name}{f' ({_cell(who)})' if who else ''} | " + " | ".join(cells) + " |")
    return lines


def shown(value: Any, form: str) -> str:
    """Return a value as the table has it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        middle, low, high = (number(value[key], form) for key in ("median", "low", "high"))
        return f"{middle} ({low} to {high})" if value["rounds"] > 1 else middle
    return _cell(value) if isinstance(value, str) else number(value, form)


def number(value: float, form: str) -> str:
    """Return a number with its unit, to three or four digits."""
    if form == "bytes":
        size = next((size for size in ("GB", "MB", "kB") if value >= _SIZES[size]), "B")
        return f"{_digits(value / _SIZES[size])} {size}"
    unit = {"seconds": " s", "ratio": " x"}.get(form, "")
    return _digits(value) + unit


_SIZES = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
