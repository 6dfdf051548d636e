"""The parts of a run's page that say how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from songbag_store.pages.page import Section
from songbag_store.pages.pieces import Axis, Block, Chart, Column, Figure, Figures, Items, Layer, Matrix, Table, Words
from songbag_store.words import counted
from songbag_training.evaluation.headline import (
    cross_validation_hint,
    floor_lines,
    headline_names,
    members_line,
    shown_name,
    small_notes,
)
from songbag_training.evaluation.leaks import leak_lines
from songbag_training.pages.songs import Songs
from songbag_training.songs.task import Task

_MOST_CLASSES = 40
_MOST_PAIRS = 200
_MOST_BARS = 60
_OTHERS = ("macro_f1", "roc_auc", "log_loss", "ece")
_NAMES = {"ece": "calibration error", "roc_auc": "ROC-AUC", "log_loss": "log loss", "macro_f1": "macro F1"}
_CURVES = {
    "Loss by epoch": ("loss", "val_loss"),
    "Accuracy by epoch": ("accuracy", "val_accuracy"),
    "What chose the epoch": ("val_balanced_accuracy", "val_macro_f1", "val_average_precision"),
}


def headline(metrics: Mapping[str, Any], facts: Mapping[str, Any], missing: Sequence[str]) -> list[Block]:
    """Return the first metrics with intervals, what they rest on, and what is missing on the page."""
    blocks: list[Block] = []
    if metrics:
        song = metrics["song"]
        first = headline_names(song)
        figures = [_figure(name, song[name], metrics) for name in first]
        figures += [_figure(name, song[name], metrics) for name in _OTHERS if name in song and name not in first]
        blocks += [Figures([one for one in figures if one is not None]), Words(_rests_on(metrics, facts))]
        own = metrics["mean"]["accuracy"] if "mean" in metrics else song["accuracy"]
        learners = metrics.get("learners", {})
        if "member 1" in learners:
            line = members_line(song["accuracy"], learners)
            blocks.append(Words(f"Accuracy of {line}."))
        what = "Networks and trees" if "trees" in learners else "The network"
        what = "Mean of the folds" if "mean" in metrics else what
        for line in floor_lines(own, metrics["floor"], what) if "floor" in metrics else []:
            text = line.removeprefix("note: ").replace("`", "")
            blocks.append(Words(text[0].upper() + text[1:] + ".", note=line.startswith("note: ")))
        notes = small_notes(metrics) if "classes" in metrics else []
        n_all = sum(facts["songs"].values()) if facts else 0
        if facts and facts["kind"] == "run":
            notes += cross_validation_hint(song["n"], n_all, bool(notes))
        blocks += [Words(note.removeprefix("note: ").replace("`", ""), note=True) for note in notes]
    else:
        blocks.append(Words("The run has not been evaluated yet, so there is nothing to say about its answers."))
    return blocks + [Words(note, note=True) for note in missing]


def _figure(name: str, value: float | None, metrics: Mapping[str, Any]) -> Figure | None:
    if value is None:
        return None
    title = _NAMES.get(name, shown_name(name))
    if (ends := metrics.get("intervals", {}).get(name)) is not None:
        return Figure(title, f"{value:.2f}", f"{ends[0]:.2f} to {ends[1]:.2f}, 95 %", (ends[0], value, ends[1]))
    return Figure(title, f"{value:.2f}", "" if name in ("ece", "log_loss", "roc_auc") else "no interval")


def _rests_on(metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    n = metrics["song"]["n"]
    songs = counted(n, "song") + (" that no model of the folds was trained on" if "folds" in metrics else "")
    if "folds" not in metrics:
        songs += " of the test split, which the model was not trained on"
    text = f"Measured on {songs}. An interval says how much a metric would vary over other songs of the same kind."
    if facts and facts["group"]:
        text += f" Songs of the same {' or '.join(facts['group'])} count together."
    if "window" in metrics and metrics["window"].get("accuracy") is not None:
        text += f" Single windows alone are right in {metrics['window']['accuracy']:.0%}."
    return text


def curves(histories: Mapping[str, Mapping[str, list[float | None]]], best_epoch: int | None) -> list[Block]:
    """Return the learning curves of a run, or of all folds of a cross-validation."""
    blocks: list[Block] = []
    for number, (words, names) in enumerate(_CURVES.items()):
        layers: list[Layer] = []
        for fold, (run, history) in enumerate(histories.items()):
            there = [name for name in names if any(value is not None for value in history.get(name, ()))]
            layers += [_curve(run if len(histories) > 1 else "", fold, name, history) for name in there]
        if layers:
            if best_epoch and len(histories) == 1:
                words += f"; the weights are those of epoch {best_epoch}"
            blocks.append(Chart(f"curve-{number}", f"{words}.", layers, Axis("epoch", counts=True), height=240))
    return blocks


def _curve(run: str, fold: int, name: str, history: Mapping[str, list[float | None]]) -> Layer:
    of_validation = name.startswith("val_")
    shown = f"validation {name[4:].replace('_', ' ')}" if of_validation else f"training {name}"
    if run:
        shown = f"{run}, {shown}"
    tips = (("", shown), ("epoch", "@x"), ("", "@y{0.000}"))
    columns = {"x": history["epoch"], "y": history[name]}
    return Layer("line", columns, shown, (fold if run else int(of_validation)) % 8, of_validation and bool(run), tips)


def sections(songs: Songs, task: Task, metrics: Mapping[str, Any]) -> list[Section]:
    """Return the sections of confusions, classes and calibration."""
    found = []
    if not task.several:
        found.append(Section("confusion", "Confusion", confusion(songs, task)))
    if metrics.get("classes"):
        found.append(Section("classes", "Classes", _classes(metrics["classes"])))
    found.append(Section("calibration", "Calibration", calibration(songs)))
    return found


def confusion(songs: Songs, task: Task) -> list[Block]:
    """Return the confusion matrix of the judged songs; of many classes the pairs that are confused most often."""
    n, names = len(task.classes), list(task.classes)
    if n <= _MOST_CLASSES:
        counts = [[songs.pairs[(row, column)] for column in range(n)] for row in range(n)]
        words = "Rows are labels, columns are answers. A cell lists its songs below, under Songs."
        return [Matrix("confusion", words, names, counts)]
    wrong = [(count, pair) for pair, count in songs.pairs.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda one: (-one[0], one[1]))
    wrong = wrong[:_MOST_PAIRS]
    if not wrong:
        return [Words("No song was taken for another class.")]
    columns = [
        Column("label", [names[true] for _, (true, _) in wrong]),
        Column("answer", [names[said] for _, (_, said) in wrong]),
        Column("songs", [count for count, _ in wrong], "number"),
    ]
    words = f"The pairs of the {counted(n, 'class')} that are confused most often."
    words += " A pair lists its songs below, under Songs."
    return [Words(words), Table("pairs", "", columns, choose=True)]


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    of = list(classes.values())
    columns = [Column("class", list(classes)), Column("songs", [own["n"] for own in of], "number")]
    columns += [Column(name, [own[name] for own in of], "share") for name in ("precision", "recall")]
    columns.append(Column("recall, 95 %", [_between(own.get("recall_interval")) for own in of]))
    columns.append(Column("F1", [own["f1"] for own in of], "share"))
    words = "Precision: how many of the songs with this answer have this label. Recall: how many of the songs with this"
    words += " label have this answer. A class lists its songs below."
    return [Words(words), Table("classes", "", columns, choose=True)]


def _between(ends: Sequence[float] | None) -> str:
    return f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %" if ends else "-"


def calibration(songs: Songs) -> list[Block]:
    """Return the chart of how often answers of a confidence are right."""
    own = songs.calibration
    bins = [at for at, count in enumerate(own.counts) if count]
    if not bins:
        return [Words("No song was judged.")]
    x = [own.confidence[at] / own.counts[at] for at in bins]
    y = [own.right[at] / own.counts[at] for at in bins]
    n = [int(own.counts[at]) for at in bins]
    tips = (("confidence", "@x{0.00}"), ("right", "@y{0%}"), ("answers", "@n"))
    layers = [
        Layer("line", {"x": [0, 1], "y": [0, 1]}, "as sure as it should be", -1, True),
        Layer("line", {"x": x, "y": y, "n": n}, "", 0),
        Layer("points", {"x": x, "y": y, "n": n}, "answers by confidence", 0, tips=tips),
    ]
    most = max(n)
    width = 1 / len(own.counts)
    bars = Layer(
        "bars",
        {
            "left": [at * width for at in bins],
            "right": [(at + 1) * width for at in bins],
            "bottom": [0] * len(bins),
            "top": n,
        },
        tips=(("answers", "@top"),),
        colour=-1,
    )
    words = "How often answers are right, by how sure they are. Below the dashed line the model is too sure."
    x_axis, counts = Axis("confidence", (0, 1.02)), Axis("", (0, most * 1.1), counts=True)
    return [
        Chart("calibration", words, layers, x_axis, Axis("right", (0, 1.04)), 300),
        Chart("answers", "How many answers there are of each confidence.", [bars], x_axis, counts, 130),
    ]


def balance(songs: Songs, task: Task) -> list[Block]:
    """Return how many songs of each class each subset has."""
    names = sorted(songs.balance, key=lambda name: ({"train": 0, "validation": 1, "test": 2}.get(name, 3), name))
    totals = sum(songs.balance.values())
    order = sorted(range(len(task.classes)), key=lambda number: -totals[number])  # type: ignore[index]
    shown, classes = order[:_MOST_BARS], list(task.classes)
    left = [0.0] * len(shown)
    layers = []
    for number, name in enumerate(names):
        counts = [float(songs.balance[name][at]) for at in shown]
        right = [a + b for a, b in zip(left, counts, strict=True)]
        columns: dict[str, Sequence[Any]] = {
            "left": left,
            "right": right,
            "bottom": [row - 0.38 for row in range(len(shown))],
            "top": [row + 0.38 for row in range(len(shown))],
            "n": counts,
            "name": [classes[at] for at in shown],
        }
        layers.append(Layer("bars", columns, name, number % 8, tips=(("", "@name"), (name, "@n"))))
        left = right
    y = Axis("", (len(shown) - 0.4, -0.6), [classes[at] for at in shown])
    height = min(90 + 30 * len(shown), 1200)
    words = "Songs of each class in each split."
    if len(order) > len(shown):
        words += f" The {len(shown)} largest of {counted(len(order), 'class')} are shown."
    axis = Axis("songs", (0, max(left, default=1.0) * 1.04 or 1.0), counts=True)
    return [Chart("balance", words, layers, axis, y, height)]


def leaks(metrics: Mapping[str, Any], copies: tuple[int, list[list[str]]] | None) -> list[Block]:
    """Return what is suspected of leaks, and which songs are copies of each other."""
    blocks: list[Block] = []
    if metrics:
        lines = leak_lines(metrics)
        blocks.append(Items(lines) if lines else Words("No leak is suspected: no test song is known from training."))
    if copies is None:
        blocks.append(Words("Copies of recordings were not looked for when this split was made.", note=True))
        return blocks
    n, groups = copies
    if not n:
        blocks.append(Words("No song of the split is there more than once."))
        return blocks
    first = f", the first {len(groups)} are" if n > len(groups) else ""
    there = f"{counted(n, 'recording')} {'is' if n == 1 else 'are'} there more than once"
    blocks.append(Words(f"{there}; copies stay on one side of the split{first}:"))
    blocks.append(Items([", ".join(songs[:8]) + (" ..." if len(songs) > 8 else "") for songs in groups]))
    return blocks
