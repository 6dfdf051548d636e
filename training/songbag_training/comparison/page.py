"""The page of a comparison: runs and cross-validations against the first of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from songbag_store.pages.page import Page, Section
from songbag_store.pages.pieces import Axis, Block, Chart, Column, Figure, Figures, Items, Layer, Table, Words
from songbag_store.pages.songs import shown_values
from songbag_store.words import counted
from songbag_training.comparison.compare import Comparison, compare
from songbag_training.comparison.overlay import Look, curves, parallel
from songbag_training.comparison.row import read_row
from songbag_training.evaluation.headline import shown_name
from songbag_training.pages.material import Missing

MOST_ROWS = 10_000
"""Rows of a table on the page; `songbag compare --table` writes all."""

_FEW = 4
_MOST_LINES = 50
_MOST_SAID = 8
_MOST_CHARTED = 40
_CHARTED = ("accuracy", "balanced_accuracy", "macro_f1", "average_precision")

Rows = list[dict[str, Any]]


def comparison_page(folders: Sequence[Path]) -> Page:
    """Return the page of two or more runs or cross-validations, each against the first one.

    Parameters
    ----------
    folders : sequence of pathlib.Path
        The folders of finished runs; see `songbag_training.comparison.compare.compare`, also for its errors.
    """
    found, missing = compare(*folders), Missing()
    tables = {name: table.to_pylist() for name, table in found.tables.items() if name != "settings"}
    names = found.tables["settings"].column_names[1:]
    rows = [read_row(folder, name, False) for folder, name in zip(folders, names, strict=True)]
    look = Look.of(rows)
    drawn = curves(folders, look, missing)
    axes = parallel(rows, found.tables["settings"]["setting"].to_pylist(), look)
    sections = [Section("result", "Result", _result(tables, names[0], found.notes))]
    sections.append(Section("settings", "Settings", [*_settings(found, names), *axes]))
    sections.append(Section("metrics", "Metrics", [*_metrics(tables["metrics"], names), *_floors(tables["floors"])]))
    learning = [*drawn, *(Words(note, note=True) for note in missing.notes[:_MOST_LINES])]
    sections.append(Section("learning", "Learning", learning or [Words("No run has learning curves.")]))
    sections.append(Section("classes", "Classes", _classes(tables["classes"], names)))
    sections.append(Section("songs", "Songs that flipped", _songs(tables, names)))
    sections.append(Section("origins", "Where the difference comes from", _origins(tables["origins"])))
    title = " and ".join(names) if len(names) == 2 else f"{names[0]} and {len(names) - 1} others"
    kind = "runs and cross-validations" if any(row.folds for row in rows) else "runs"
    lead = f"{len(names):,} {kind} that learned {rows[0].label!r}; each is compared with {names[0]}."
    return Page("Comparison", title, lead, sections)


def _result(tables: dict[str, Rows], first: str, notes: Sequence[str]) -> list[Block]:
    accuracies = [row for row in tables["metrics"] if row["metric"] == "accuracy"]
    blocks: list[Block] = []
    if len(accuracies) == 1:
        own = [row for row in tables["metrics"] if row["metric"] in _CHARTED]
        blocks.append(Figures([_figure(row) for row in own]))
    best = sorted(accuracies, key=lambda row: -row["difference"])[:_MOST_SAID]
    blocks.append(Items([_said(row, first) for row in best]))
    if len(best) < len(accuracies):
        blocks.append(Words(f"These are the best {len(best)} of {len(accuracies):,}; all are under Metrics."))
    words = "Differences are of the same songs, each judged by both. An interval says how much a difference would vary "
    words += "over other songs of the same kind and the same models, not how much another seed would change."
    return [*blocks, Words(words), *(Words(note, note=True) for note in notes[:_MOST_LINES])]


def _figure(row: dict[str, Any]) -> Figure:
    values = f"{row['value']:.2f} against {row['reference']:.2f}"
    return Figure(shown_name(row["metric"]), f"{row['difference']:+.2f}", f"{values}; {_between(row)}")


def _said(row: dict[str, Any], first: str) -> str:
    """Return what a difference of accuracies means, in words."""
    text = f"{row['run']} is right in {row['value']:.1%} of {counted(row['songs'], 'song')}, {first} in "
    text += f"{row['reference']:.1%}: a difference of {100 * row['difference']:+.1f} points"
    if row["low"] is None:
        return f"{text}, without an interval ({row['note']})."
    text += f", 95 % between {100 * row['low']:+.1f} and {100 * row['high']:+.1f}."
    if row["low"] > 0 or row["high"] < 0:
        return f"{text} The interval does not hold 0: on songs like these {row['run']} is {_better(row['low'] > 0)}."
    return f"{text} The interval holds 0: these songs do not show which is better."


def _better(is_better: bool) -> str:
    return "better" if is_better else "worse"


def _between(row: dict[str, Any]) -> str:
    return "no interval" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}, 95 %"


def _range(row: dict[str, Any]) -> str:
    """Return an interval for a cell; on a phone it stays on one line."""
    return (
        "none" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}".replace(" ", "\N{NO-BREAK SPACE}")
    )


def _settings(found: Comparison, names: Sequence[str]) -> list[Block]:
    """Return the settings that differ: a row each, or, of many runs, a row a run."""
    table = found.tables["settings"]
    settings = table.column(0).to_pylist()
    if not settings:
        return [Words("All have the same settings, and learned from the same songs.")]
    values = [
        ["not set" if one is None else one for one in table.column(at + 1).to_pylist()] for at in range(len(names))
    ]
    if len(names) <= _FEW:
        columns = [Column(name, shown_values(own)) for name, own in zip(names, values, strict=True)]
        return [Table("settings", "The settings that differ.", [Column("setting", settings), *columns])]
    columns = [Column(name, shown_values([own[at] for own in values])) for at, name in enumerate(settings)]
    return [Table("settings", "The settings that differ, a row a run.", [Column("run", names), *columns])]


def _metrics(rows: Rows, names: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    several = len(names) > 2
    for name in _CHARTED:
        own = sorted((row for row in rows if row["metric"] == name), key=lambda row: -row["difference"])
        if own:
            words = f"Difference of {shown_name(name)}, with its 95 % interval. At the dashed line both are equal."
            if len(own) > _MOST_CHARTED:
                words += f" The best {_MOST_CHARTED} of {len(own):,} are drawn."
            blocks.append(_differences(f"difference-{name}", words, own, "run"))
    shown = rows[:MOST_ROWS]
    columns = [
        *([Column("run", [row["run"] for row in shown])] if several else []),
        Column("metric", [shown_name(row["metric"]) for row in shown]),
        Column("songs", [row["songs"] for row in shown], "number"),
        Column(names[0], [_rounded(row["reference"]) for row in shown], "number"),
        Column("run" if several else names[1], [_rounded(row["value"]) for row in shown], "number"),
        Column("difference", [_rounded(row["difference"]) for row in shown], "number"),
        Column("95 %", [_range(row) for row in shown]),
    ]
    words = "Of log loss and of the calibration error (ece) less is better."
    why = [f"{shown_name(row['metric'])}: {row['note']}." for row in shown if row["note"]]
    reasons = Items(list(dict.fromkeys(why))[:_MOST_LINES])
    return [
        *blocks,
        Table("metrics", words, columns),
        *([Words("What has no interval, and why:"), reasons] if why else []),
    ]


def _floors(rows: Rows) -> list[Block]:
    """Return what baselines reached on the test songs of each run, where it was measured."""
    if not rows:
        return []
    shown, names = rows[:MOST_ROWS], ("accuracy", "floor", "difference")
    numbers = [Column(name, [_rounded(row[name]) for row in shown], "number") for name in names]
    columns = [Column("run", [row["run"] for row in shown]), *numbers]
    words = "Floors: the accuracy of a linear model or trees on song summaries, over all test songs of the run."
    return [Table("floors", words, columns)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _differences(key: str, words: str, rows: Rows, named: str) -> Chart:
    """Return a chart of differences with their intervals, the first row on top."""
    rows = rows[:_MOST_CHARTED]
    at = range(len(rows))
    known = [(place, row) for place, row in enumerate(rows) if row["low"] is not None]
    bars = {
        "left": [row["low"] for _, row in known],
        "right": [row["high"] for _, row in known],
        "bottom": [place + 0.08 for place, _ in known],
        "top": [place - 0.08 for place, _ in known],
    }
    points = {
        "x": [row["difference"] for row in rows],
        "y": list(at),
        "name": shown_values([row[named] for row in rows]),
        "interval": [_between(row) for row in rows],
    }
    ends = (-0.6, len(rows) - 0.4)
    layers = [
        Layer("line", {"x": [0, 0], "y": list(ends)}, colour=-1, dashed=True),
        Layer("bars", bars, colour=0),
        Layer("points", points, colour=1, tips=(("", "@name"), ("difference", "@x{+0.000}"), ("", "@interval"))),
    ]
    y = Axis("", (ends[1], ends[0]), shown_values([row[named] for row in rows]))
    return Chart(key, words, layers, Axis("difference"), y, min(80 + 30 * len(rows), 1200))


def _classes(rows: Rows, names: Sequence[str]) -> list[Block]:
    if not rows:
        return [Words("No class has songs that both tested.")]
    blocks: list[Block] = []
    several = len(names) > 2
    if not several:
        ordered = sorted(rows, key=lambda row: -row["difference"])
        if len(rows) > _MOST_CHARTED:
            half = _MOST_CHARTED // 2
            ordered = [*ordered[:half], *ordered[-half:]]
        words = f"Gain of recall of {names[1]} against {names[0]}, with its 95 % interval."
        if len(rows) > _MOST_CHARTED:
            words += f" The {_MOST_CHARTED} largest gains and losses of {counted(len(rows), 'class')} are drawn."
        blocks.append(_differences("gains", words, ordered, "class"))
    shown = rows[:MOST_ROWS]
    columns = [
        *([Column("run", [row["run"] for row in shown])] if several else []),
        Column("class", shown_values([row["class"] for row in shown])),
        Column("songs", [row["songs"] for row in shown], "number"),
        Column(names[0], [row["reference"] for row in shown], "share"),
        Column("run" if several else names[1], [row["value"] for row in shown], "share"),
        Column("gain", [row["difference"] for row in shown], "share"),
        Column("95 %", [_range(row) for row in shown]),
    ]
    return [*blocks, Table("classes", f"Recall: how many songs of a class are found.{_more(rows)}", columns)]


def _more(rows: Rows) -> str:
    if len(rows) <= MOST_ROWS:
        return ""
    return f" The page has {MOST_ROWS:,} of {counted(len(rows), 'row')}; songbag compare --table writes all."


_CHANGES = {"gained": "right now", "lost": "wrong now", "neither": "wrong both times"}


def _songs(tables: dict[str, Rows], names: Sequence[str]) -> list[Block]:
    tests, rows = tables["tests"], tables["songs"]
    songs = {row["run"]: row["songs"] for row in tables["metrics"]}
    told = sorted(tests, key=lambda test: test["p"])[:_MOST_SAID]
    blocks: list[Block] = [Items([_tested(test, names[0], songs[test["run"]]) for test in told])]
    if len(told) < len(tests):
        what = (
            f"These are the {len(told)} of {len(tests):,} tests that say most; songbag compare --table tests has all."
        )
        blocks.append(Words(what))
    if len(tests) > 1:
        several = f"With {len(tests)} comparisons, about one in twenty has p below 0.05 by chance alone."
        blocks.append(Words(several))
    if not rows:
        return [*blocks, Words("They say the same of every song.")]
    order = list(_CHANGES)
    shown = sorted(rows, key=lambda row: -order.index(row["change"]) if row["change"] != "neither" else 1)[:MOST_ROWS]
    several_runs = len(names) > 2
    columns = [
        Column("song", shown_values([row["song_id"] for row in shown])),
        *([Column("run", [row["run"] for row in shown])] if several_runs else []),
        Column("label", [_text(row["label"]) for row in shown]),
        Column(f"{names[0]} said", [_text(row["reference"]) for row in shown]),
        Column("the run said" if several_runs else f"{names[1]} said", [_text(row["other"]) for row in shown]),
        Column("change", [_CHANGES[row["change"]] for row in shown]),
    ]
    words = f"Songs of which they say different things; those that got worse come first.{_more(rows)}"
    return [*blocks, Table("flips", words, columns)]


def _tested(test: dict[str, Any], first: str, n: int) -> str:
    """Return McNemar's test, or the sign test of groups, in words."""
    gained, lost, p = test["gained"], test["lost"], test["p"]
    text = f"Of {counted(n, 'song')}, {test['run']} alone has {gained:,} right, {first} alone {lost:,}."
    if test["of"] == "groups":
        text = (
            f"Of {counted(n, 'song')} in groups, {test['run']} has more right in {counted(gained, 'group')}, {first} "
        )
        text += f"in {lost:,}."
    if not gained + lost:
        return f"{text} There is nothing to test."
    shown = "less than 0.001" if p < 0.001 else f"{p:.3f}"
    text += f" Were both right equally often, counts at least so uneven would come by chance with probability {shown}"
    text += f" ({test['test']}): "
    return text + ("hardly chance." if p < 0.05 else "it may well be chance.")


def _text(label: Any) -> str:
    return shown_values([label if isinstance(label, str) else ", ".join(label or ()) or "none"])[0]


def _origins(rows: Rows) -> list[Block]:
    if not rows:
        return [Words("The reported accuracies do not differ.")]
    shown = rows[:MOST_ROWS]
    columns = [
        Column("because", [row["because"] for row in shown]),
        Column("run", [row["run"] for row in shown]),
        Column("songs", [row["songs"] for row in shown], "number"),
        Column("difference", [row["difference"] for row in shown], "share"),
    ]
    words = "Parts of the difference of the accuracies as they were reported; those of a run add up to the whole."
    return [Table("origins", words, columns)]
