"""`RunRow`: what the documents of one run or cross-validation say, for a table. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from songbag_store.errors import SongbagError
from songbag_store.format.document import Count, Digest, Time, parse_document, read_fields, reason
from songbag_store.storage.files import is_there, read_bounded
from songbag_store.words import counted
from songbag_training.config import RunConfig, TrainConfig
from songbag_training.errors import DamagedRun, NewerRun
from songbag_training.evaluation.headline import headline_names
from songbag_training.runs.attempt import last_attempt
from songbag_training.runs.document import CROSS_VALIDATION, RUN, SWEEP, parse_known, read_run_document
from songbag_training.runs.facts import PRETRAINING, ParentFacts
from songbag_training.runs.interruption import is_finished, reached, state_of
from songbag_training.runs.plan import Plan, SweepPlan, judged_by, point_name, sweep_of, validations
from songbag_training.runs.seals import digests
from songbag_training.types import TaskName

METRICS = "metrics.json"
_LARGEST_BYTES = 64 * 2**20
_SUBSETS = ("train", "validation", "test")
_SHOWN_DIGITS = 8

Numbers = tuple[float | None, float | None, float | None]
"""A metric with the ends of its interval."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """What a table shows of `run.json`: reading the spec as well would take as long as all of this."""

    created_at: Time
    finished_at: Time | None = None
    store_location: str
    snapshot: Count
    fingerprint: Digest
    label: str
    where: str | None
    split_sha256: Digest
    config: RunConfig
    files: dict[str, Digest] | None = None
    replaced: dict[str, Digest] = dataclasses.field(default_factory=dict)
    parent: ParentFacts | None = None
    task: TaskName = "single-label"


_FIELDS = {field.name for field in dataclasses.fields(_Listed)}


@dataclasses.dataclass(kw_only=True)
class RunRow:
    """A run or a cross-validation in a table.

    Attributes
    ----------
    state : str
        finished, running, interrupted, failed; unfinished, if nothing is recorded of its process; waiting, if it is a
        point of a sweep that has not begun; damaged, newer or unreadable.
    note : str
        How far it is, what went wrong.
    floor : float or None
        The accuracy that a baseline reached on its test songs; of folds the mean.
    """

    name: str
    folder: Path
    state: str
    note: str = ""
    when: str | None = None
    label: str | None = None
    songs: int | None = None
    folds: int | None = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Numbers] = dataclasses.field(default_factory=dict)
    floor: float | None = None


def read_row(folder: Path, name: str, every: bool) -> RunRow:
    """Return the row of a folder with a run or a cross-validation; what is wrong with it is in its note.

    Parameters
    ----------
    every : bool
        Whether all metrics are wanted, not only those that are shown first.
    """
    try:
        return _of_run(folder, name, every) if is_there(folder / RUN) else _of_folds(folder, name, every)
    except NewerRun as error:
        return RunRow(name=name, folder=folder, state="newer", note=error.what)
    except DamagedRun as error:
        return RunRow(name=name, folder=folder, state="damaged", note=f"{Path(error.place).name} {error.what}")
    except (SongbagError, OSError) as error:
        what = error.what if isinstance(error, SongbagError) else error.strerror
        return RunRow(name=name, folder=folder, state="unreadable", note=str(what))


def _of_run(folder: Path, name: str, every: bool) -> RunRow:
    facts = _run_facts(folder)
    label = None if facts.task == PRETRAINING else facts.label
    row = RunRow(name=name, folder=folder, state="finished", when=facts.created_at, label=label)
    own = {"where": facts.where, "store": facts.store_location, "snapshot": facts.snapshot}
    own["from_run"] = facts.parent["folder"] if facts.parent else None
    row.settings = _settings(facts.config) | own
    row.settings |= {"features": facts.fingerprint[:_SHOWN_DIGITS], "split": facts.split_sha256[:_SHOWN_DIGITS]}
    if facts.finished_at is None:
        row.state, why = last_attempt(folder) or (_not_begun(folder), "")
        row.note = ": ".join(filter(None, (_progress(folder, row.state, facts.config), why)))
        row.songs = _n_rows(folder / "split.parquet")
        return row

    if facts.task == PRETRAINING:
        row.songs, row.note = _n_rows(folder / "split.parquet"), "an encoder, learned without labels"
        return row

    def fill(metrics: Mapping[str, Any]) -> None:
        row.songs = sum(int(metrics[subset]["song"]["n"]) for subset in _SUBSETS if subset in metrics)
        if "test" in metrics:
            row.metrics = _numbers(metrics["test"]["song"], metrics["test"]["intervals"], every)
            row.floor = floor_accuracy(metrics["test"])
        else:
            row.songs = _n_rows(folder / "split.parquet")
        if sweep_of(folder) is not None:
            row.metrics |= _of_validation([metrics["validation"]], facts.config, every)

    row.note = _filled(folder, facts, partial(_run_facts, folder), fill)
    return row


def _of_folds(folder: Path, name: str, every: bool) -> RunRow:
    plan, first = Plan.open(folder), _known_fields(folder / "fold-1" / RUN)
    row = RunRow(name=name, folder=folder, state="finished", label=plan.label, folds=len(plan.folds))
    row.when = first.get("created_at")
    own = {"where": plan.where, "snapshot": plan.snapshot}
    own["from_run"] = plan.parent["folder"] if plan.parent else None
    row.settings = _settings(plan.config) | own | {"split": plan.split_sha256[:_SHOWN_DIGITS]}
    if first:
        row.settings["store"] = first.get("store_location")
        row.settings["features"] = str(first.get("fingerprint"))[:_SHOWN_DIGITS]
    if sweep_of(folder) is not None:
        row.metrics = _of_validation(validations(folder, len(plan.folds)), plan.config, every)
    if not is_finished(folder, CROSS_VALIDATION, {"files": plan.files}):
        row.songs = _n_rows(folder / "split.parquet")
        if row.metrics:
            return row
        row.state, row.note = _state_of_folds(folder, plan)
        return row

    def fill(metrics: Mapping[str, Any]) -> None:
        row.songs = int(metrics["pooled"]["n"])
        row.metrics = _numbers(metrics["pooled"], metrics["intervals"], every) | row.metrics
        row.floor = floor_accuracy(metrics)

    row.note = _filled(folder, plan, partial(Plan.open, folder), fill)
    return row


def waiting_rows(sweep: Path, name: str) -> list[RunRow]:
    """Return the rows of the points of a sweep that have not begun, or that failed before they did."""
    try:
        plan = SweepPlan.read(sweep / SWEEP)
    except (SongbagError, OSError) as error:
        what = error.what if isinstance(error, SongbagError) else error.strerror
        return [RunRow(name=name, folder=sweep, state="damaged", note=f"{SWEEP} {what}")]
    found = []
    for number, point in enumerate(plan.points, 1):
        folder = sweep / point_name(number)
        if is_there(folder / RUN) or is_there(folder / CROSS_VALIDATION):
            continue
        state, why = last_attempt(folder) or ("waiting", "")
        row = RunRow(name=f"{name}/{folder.name}" if name else folder.name, folder=folder, state=state, note=why)
        row.label, row.folds, row.songs = plan.label, len(plan.folds) or None, _n_rows(sweep / "split.parquet")
        own = {"where": plan.where, "store": plan.store_location, "snapshot": plan.snapshot}
        own["from_run"] = plan.parent["folder"] if plan.parent else None
        row.settings = _settings(plan.config_of(point)) | own | {"split": plan.split_sha256[:_SHOWN_DIGITS]}
        found.append(row)
    return found


def _of_validation(found: Sequence[Mapping[str, Any]], config: RunConfig, every: bool) -> dict[str, Numbers]:
    """Return the metrics of the validation songs of a point, under names of their own; of folds their mean."""
    if not found or not isinstance(config, TrainConfig):
        return {}
    by, song = judged_by(config)[0], found[0]["song"]
    names = [name for name in song if name != "n"] if every else list(dict.fromkeys([*headline_names(song), by]))
    made: dict[str, Numbers] = {}
    for name in names:
        values = [own["song"][name] for own in found]
        value = None if None in values else float(sum(values)) / len(values)
        # The folds' validation songs overlap: there is no interval of their mean.
        low, high = (found[0]["intervals"].get(name) or (None, None)) if len(found) == 1 else (None, None)
        made[f"validation_{name}"] = value, low, high
    return made


def _run_facts(folder: Path) -> _Listed:
    def parse(data: bytes) -> _Listed:
        fields = parse_known(data)
        return read_fields(_Listed, {name: value for name, value in fields.items() if name in _FIELDS})

    return read_run_document(folder / RUN, parse, "Restore it from a copy.")


def _known_fields(path: Path) -> dict[str, Any]:
    with suppress(SongbagError, OSError):
        return read_run_document(path, parse_known, "")
    return {}


def _settings(config: RunConfig) -> dict[str, Any]:
    """Return the options; what is off is said in one way."""
    config = config.as_begun if isinstance(config, TrainConfig) else config
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def floor_accuracy(metrics: Mapping[str, Any]) -> float | None:
    """Return the accuracy of the floor that metrics tell; None if there is none."""
    floor = metrics.get("floor")
    return float(floor[floor["learner"]]) if floor else None


def _not_begun(folder: Path) -> str:
    """Return the state of a run that no process has begun: a point of a sweep is waiting, any other is unfinished."""
    return "unfinished" if sweep_of(folder) is None else "waiting"


def _state_of_folds(folder: Path, plan: Plan) -> tuple[str, str]:
    """Return the state of a cross-validation that is not finished, and how far it is."""
    folds = [folder / f"fold-{number}" for number in range(1, len(plan.folds) + 1)]
    attempts = {own: last_attempt(own) for own in folds if is_there(own / RUN)}
    running = [own for own, attempt in attempts.items() if attempt and attempt[0] == "running"]
    state, why = last_attempt(folder) or next(filter(None, attempts.values()), (_not_begun(folder), ""))
    if running:
        now = ", ".join(f"{_progress(own, 'running', plan.config)} in {own.name}".strip() for own in running)
        n_done = sum(is_finished(own, RUN, _known_fields(own / RUN)) for own in folds)
        return "running", f"{now}; {n_done} of {counted(len(folds), 'fold')} done"
    return state, ": ".join(filter(None, (state_of(folder), why)))


def _progress(folder: Path, state: str, config: RunConfig) -> str:
    if not isinstance(config, TrainConfig):
        return ""
    n_epochs = config.epochs
    done, _ = reached(folder)
    if done >= n_epochs:
        return "only the evaluation is left"
    return f"epoch {done + 1} of {n_epochs}" if state == "running" else f"after {done} of {counted(n_epochs, 'epoch')}"


def _filled(folder: Path, document: Any, again: Any, fill: Any) -> str:
    """Fill a row from `metrics.json`; return what is wrong with that file, or an empty text."""
    try:
        data = read_bounded(folder / METRICS, _LARGEST_BYTES)
        digest = hashlib.sha256(data).hexdigest()
        wanted = digests(document, METRICS)
        if digest in wanted:
            # What songbag wrote needs no strict reading, which takes half as long again.
            fill(json.loads(data))
            return ""
        # Perhaps an evaluation has written it since the document was read.
        if wanted and digest not in digests(again(), METRICS):
            return f"{METRICS} is not what was written"
        fill(parse_document(data))
    except FileNotFoundError:
        return f"{METRICS} is missing"
    except (SongbagError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{METRICS} cannot be read ({reason(error)})"
    return ""


def _numbers(song: Mapping[str, Any], intervals: Mapping[str, Any], every: bool) -> dict[str, Numbers]:
    """Return the metrics of songs with the ends of their intervals."""
    names = [name for name in song if name != "n"] if every else headline_names(song)
    found: dict[str, Numbers] = {}
    for name in names:
        low, high = intervals.get(name) or (None, None)
        value, low, high = (None if one is None else float(one) for one in (song[name], low, high))
        found[name] = value, low, high
    return found


def _n_rows(path: Path) -> int | None:
    """Return the rows of a Parquet file by its footer; None if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(OSError, ValueError, pa.ArrowException):
        return int(pq.read_metadata(path).num_rows)
    return None
