"""`info`: what a store, a run or a cross-validation is. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from songbag_store.errors import UsageError
from songbag_store.format.declaration import declarations
from songbag_store.format.document import parse_document
from songbag_store.sql.output import bytes_text
from songbag_store.store import StoreLike
from songbag_store.terminal import plain_name
from songbag_store.upkeep.summary import describe as describe_store, info as store_info
from songbag_store.words import counted
from songbag_training.config import BaselineConfig, PretrainConfig, RunConfig, TrainConfig
from songbag_training.evaluation.headline import headline, headline_names, shown_name
from songbag_training.runs.document import RUN, SWEEP, parse_run_document, read_run_document
from songbag_training.runs.facts import PRETRAINING, RunFacts
from songbag_training.runs.history import read_rows
from songbag_training.runs.interruption import state_of
from songbag_training.runs.plan import Plan, SweepPlan, judged_by, point_name, sweep_of
from songbag_training.runs.verification import sealed_folder
from songbag_training.songs.task import classes_of
from songbag_training.splits.split import Split
from songbag_training.usual import USUAL

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike

_MOST_SHOWN = 20
_METRICS = "metrics.json"


def info(place: StoreLike | RunLike) -> dict[str, Any]:
    """Return what a store, a run or a cross-validation is, as JSON types.

    Of a store: songs, windows, hours, bytes, sound, classes, spec and snapshots. Of a run: label, classes, model, songs
    of each part, metrics of the test songs, state, store and snapshot, and the command that makes it again.

    Parameters
    ----------
    place : SongStore, Location, Run, str or pathlib.Path
        The store, at its snapshot; or the folder of a run or a cross-validation.

    Raises
    ------
    DamagedRun
        If a file of the run is not what songbag wrote.
    UsageError
        If it is a sweep.
    """
    folder = sealed_folder(place)
    if folder is None:
        return store_info(cast(StoreLike, place))
    if (folder / SWEEP).exists():
        remedy = (
            f"`songbag runs {shlex.quote(str(folder))}` lists its points; each of them is a run or a cross-validation."
        )
        raise UsageError(f"this is a sweep: {state_of(folder)}", place=str(folder), remedy=remedy)
    return (_of_run(folder) if (folder / RUN).exists() else _of_cross_validation(folder)) | _of_sweep(folder)


def describe(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `info` returned, as names and values to read."""
    if "run" not in facts:
        yield from describe_store(facts)
        return
    yield facts["kind"], facts["run"]
    yield "state", facts["state"]
    if facts.get("sweep"):
        yield "sweep", facts["sweep"]
    if facts["task"] == PRETRAINING:
        yield "task", "told songs apart without labels" + (f", where {facts['where']}" if facts["where"] else "")
    else:
        yield "label", facts["label"] + (f" where {facts['where']}" if facts["where"] else "")
        shown = [f"{plain_name(name, 40)} {n:,}" for name, n in list(facts["classes"].items())[:_MOST_SHOWN]]
        more = f" and {len(facts['classes']) - _MOST_SHOWN} more" if len(facts["classes"]) > _MOST_SHOWN else ""
        yield "classes", ", ".join(shown) + more
    of_parts = "{name} {n:,}" if facts["kind"] == "run" else "fold {name}: {n:,}"
    yield "songs", ", ".join(of_parts.format(name=plain_name(part, 40), n=n) for part, n in facts["songs"].items())
    yield "model", facts["model"]
    if facts["features"]:
        yield "features", facts["features"]
    yield "held out" if facts["kind"] == "run" else "pooled", facts["headline"] or "not evaluated yet"
    if facts["best_epoch"]:
        yield "weights", f"of epoch {facts['best_epoch']}"
    if facts["parent"]:
        yield "started from", f"{facts['parent']['folder']} (run {facts['parent']['run_id'][:8]})"
    if facts["continued"]:
        yield "went on", f"after epoch {', '.join(f'{n:,}' for n in facts['continued'])}"
    yield "store", f"{facts['store'] or facts['store_uuid']}, snapshot {facts['snapshot']}"
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    yield "settings", settings or "all at their defaults"
    yield "seed", str(facts["seed"])
    yield "made", facts["created_at"] + (f" to {facts['finished_at']}" if facts["finished_at"] else "")
    yield "with", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield "on disk", f"{bytes_text(facts['bytes'])} in {counted(facts['files'], 'file')}"
    yield "again", facts["command"]


def _of_run(folder: Path) -> dict[str, Any]:
    facts = _read(folder, RunFacts, RUN)
    split = Split.read(folder / "split.parquet")
    is_pretraining = facts.pretraining is not None
    metrics = _metrics(folder) if facts.finished_at and not is_pretraining else {}
    held_out = metrics.get("test", {})
    config: RunConfig | PretrainConfig = facts.config
    if facts.pretraining is not None:
        config = PretrainConfig.of(facts.network(folder), facts.pretraining["projection"])
    words = ["--snapshot", str(facts.snapshot)] + ([] if is_pretraining else ["--label", facts.label])
    words += ["--from", facts.parent["folder"]] if facts.parent else []
    return {
        "kind": "run",
        "run": str(folder),
        "state": "finished" if facts.finished_at else f"not finished: {state_of(folder)}",
        "run_id": facts.run_id,
        "label": facts.label,
        "where": facts.where,
        "task": facts.task,
        "classes": _class_counts(split, facts.classes),
        "songs": split.counts(),
        "group": list(split.group),
        **_model(facts.config, facts.task),
        "features": facts.spec.in_words(),
        "fingerprint": facts.fingerprint,
        "headline": headline(held_out["song"], held_out["intervals"]) if held_out else _told_apart(folder, facts),
        "metrics": _first_metrics(held_out),
        "best_epoch": facts.best_epoch,
        "parent": facts.parent,
        "continued": facts.continued,
        "store": facts.store_location,
        "store_uuid": facts.store_uuid,
        "snapshot": facts.snapshot,
        "settings": _settings(config),
        "seed": config.seed,
        "created_at": facts.created_at,
        "finished_at": facts.finished_at,
        "versions": facts.versions,
        **_size(folder),
        "command": _command(
            "pretrain" if is_pretraining else "train", facts.store_location, words, folder, facts.where, config
        ),
    }


def _of_cross_validation(folder: Path) -> dict[str, Any]:
    plan, first = Plan.open(folder), folder / "fold-1"
    split = Split.read(folder / "split.parquet")
    metrics = _metrics(folder) if (folder / _METRICS).exists() else {}
    fold = _read(first, RunFacts, RUN) if (first / RUN).exists() else None
    names = sorted({name for label in split.labels for name in classes_of(label)})
    words = ["--snapshot", str(plan.snapshot), "--label", plan.label]
    words += ["--from", plan.parent["folder"]] if plan.parent else []
    store = fold.store_location if fold else ""
    return {
        "kind": "cross-validation",
        "run": str(folder),
        "state": "finished" if metrics else f"not finished: {state_of(folder)}",
        "label": plan.label,
        "where": plan.where,
        "task": fold.task if fold else None,
        "classes": _class_counts(split, names),
        "songs": split.counts(),
        "group": list(split.group),
        **_model(plan.config, None),
        "features": fold.spec.in_words() if fold else "",
        "fingerprint": fold.fingerprint if fold else None,
        "headline": headline(metrics["pooled"], metrics["intervals"]) if metrics else "",
        "metrics": _first_metrics({"song": metrics["pooled"], "intervals": metrics["intervals"]} if metrics else {}),
        "best_epoch": None,
        "parent": plan.parent,
        "continued": None,
        "store": store,
        "store_uuid": plan.store_uuid,
        "snapshot": plan.snapshot,
        "settings": _settings(plan.config),
        "seed": plan.config.seed,
        "created_at": fold.created_at if fold else "not begun",
        "finished_at": None,
        "versions": fold.versions if fold else {},
        **_size(folder),
        "command": _command("cross-validate", store or "STORE", words, folder, plan.where, plan.config),
    }


def _of_sweep(folder: Path) -> dict[str, Any]:
    """Return what a point of a sweep is in it; nothing if it is none."""
    sweep = sweep_of(folder)
    if sweep is None:
        return {}
    plan = SweepPlan.read(sweep / SWEEP)
    own = folder if folder.absolute().parent == sweep else folder.absolute().parent
    metric = shown_name(judged_by(plan.config)[0])
    tried = f"of {counted(len(plan.points), 'point')} in {sweep}"
    if plan.winner is None:
        return {"sweep": f"one {tried}, of which none is chosen yet"}
    if own.name != point_name(plan.winner):
        return {"sweep": f"one {tried}; chosen was {point_name(plan.winner)}"}
    return {"sweep": f"the best {tried}, by {metric} of the validation songs; it alone was tested"}


def _told_apart(folder: Path, facts: RunFacts) -> str:
    """Return how well a run that has learned without labels tells songs apart that were kept aside."""
    rows = read_rows(folder / "history.csv") if facts.pretraining and facts.best_epoch else []
    best = rows[facts.best_epoch - 1] if facts.best_epoch and len(rows) >= facts.best_epoch else {}
    return f"{best['val_accuracy']:.0%} told apart, loss {best['val_loss']:.3f}" if "val_loss" in best else ""


def _read(folder: Path, cls: type[RunFacts], document: str) -> RunFacts:
    return read_run_document(folder / document, partial(parse_run_document, cls), "Restore it from a copy.")


def _metrics(folder: Path) -> dict[str, Any]:
    return read_run_document(folder / _METRICS, parse_document, "Write it again with `songbag evaluate RUN`.")


def _class_counts(split: Split, classes: list[str]) -> dict[str, int]:
    found = Counter(name for label in split.labels for name in classes_of(label))
    return {name: found[name] for name in classes}


def _first_metrics(metrics: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return the metrics that are shown first, with the ends of their intervals."""
    if not metrics:
        return {}
    song, found = metrics["song"], {}
    for name in headline_names(song):
        low, high = metrics["intervals"].get(name) or (None, None)
        found[shown_name(name)] = {"value": song[name], "low": low, "high": high}
    return found


def _model(config: RunConfig, task: str | None) -> dict[str, Any]:
    """Return what learns, in words; of a network also its encoder and its pooling."""
    if isinstance(config, BaselineConfig):
        return {"model": config.model_in_words, "encoder": None, "pooling": None}
    words = config.encoder if task == PRETRAINING else config.model_in_words
    return {"model": words, "encoder": config.encoder, "pooling": config.pooling}


def _settings(config: RunConfig | PretrainConfig) -> dict[str, Any]:
    """Return the settings that are not at their defaults, besides those that are told by themselves."""
    told = ("encoder", "pooling", "seed")
    return {name: own for name, own in _changed(config).items() if name not in told and own != USUAL.get(name)}


def _changed(config: RunConfig | PretrainConfig) -> dict[str, Any]:
    """Return the settings that are not at their defaults."""
    usual = type(config)()
    return {name: own for name in declarations(type(config)) if (own := getattr(config, name)) != getattr(usual, name)}


def _size(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"bytes": sum(sizes), "files": len(sizes)}


def _command(
    command: str, store: str, words: list[str], folder: Path, where: str | None, config: RunConfig | PretrainConfig
) -> str:
    """Return the command that makes a run again: with the same snapshot, split and settings."""
    command = "baseline" if isinstance(config, BaselineConfig) else command
    words = ["songbag", command, store, *words]
    words += [] if isinstance(config, PretrainConfig) else ["--split", str(folder / "split.parquet")]
    words += ["--where", where] if where is not None else []
    flags = {name: one.flag for name, one in declarations(type(config)).items()}
    # An option that is open in a run is off there, and would not be in a new one.
    begun = config.as_begun if isinstance(config, TrainConfig) else config
    for name, own in _changed(begun).items():
        if (flag := flags[name]) is not None:
            values = own if isinstance(own, tuple) else (own,)
            words += [flag] if own is True else [word for one in values for word in (flag, str(one))]
    return shlex.join([*words, "-o", f"{folder}-again"])
