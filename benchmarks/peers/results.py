"""The documents of results: what a question found, as JSON that a page and plots are made from.

A result names its question and scale, the machine without its name, the peers' versions, who is missing and why, and
tables. A table has columns and a row a contestant. A value is a number, a text, null (not measured), or the median,
the lowest and the highest of the rounds. The first column of numbers has a ratio to songbag's row of each round.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
SCALES = ("full", "quick")


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, how its numbers are written, and whether more of it is better."""

    key: str
    title: str
    form: str
    """``rate``, ``seconds``, ``bytes``, ``ratio``, ``number`` or ``text``."""

    more_is_better: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What was compared once. The plot shows the first column."""

    title: str
    about: str
    columns: Sequence[Column]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, name: str, values: dict[str, Any], version: str = "", note: str = "") -> None:
        """Add a contestant's row. A list is the values of all rounds."""
        kept = {key: summary(value) if isinstance(value, list) else value for key, value in values.items()}
        self.rows.append({"name": name, "version": version, "note": note, "values": kept})

    def ratio(self, own: list[float], other: list[float]) -> dict[str, float]:
        """Return how many times better songbag is in the first column, round by round."""
        more = self.columns[0].more_is_better
        return summary([a / b if more else b / a for a, b in zip(own, other, strict=True)])


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the spread of some rounds, to six digits."""
    return {
        "median": _rounded(statistics.median(values)),
        "low": _rounded(min(values)),
        "high": _rounded(max(values)),
        "rounds": len(values),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def document(question: str, scale: str, tables: Sequence[Table], missing: dict[str, str]) -> dict[str, Any]:
    """Return the document of a question's result."""
    return {
        "question": question,
        "scale": scale,
        "measured_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "tables": [dataclasses.asdict(table) for table in tables],
        "missing": [{"name": name, "reason": why} for name, why in missing.items()],
    }


def machine() -> dict[str, Any]:
    """Return what matters of this machine: no names, no paths."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "memory_bytes": memory_kb * 1024}


def place(question: str, scale: str, folder: Path = RESULTS) -> Path:
    """Return where a result lies."""
    return folder / (f"{question}.json" if scale == "full" else f"{scale}/{question}.json")


def write(result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a result."""
    path = place(result["question"], result["scale"], folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def read(question: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """Return the result of a question, a full one before a quick one, or None: not measured yet."""
    found = (place(question, scale, folder) for scale in SCALES)
    return next((json.loads(path.read_text()) for path in found if path.exists()), None)
