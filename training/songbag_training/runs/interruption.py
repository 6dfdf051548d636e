"""Trainings that did not end: what of them is kept, and the command that goes on. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from songbag_store.errors import SongbagError, UsageError
from songbag_store.progress import Progress
from songbag_store.storage.files import is_there
from songbag_store.storage.location import Location, LocationLike
from songbag_store.words import counted
from songbag_training.config import is_plug_in
from songbag_training.runs.attempt import refuse_running
from songbag_training.runs.document import CROSS_VALIDATION, RUN, SWEEP, parse_known, read_run_document
from songbag_training.runs.seals import LONGEST_HEADER_BYTES

_CHECKPOINT = "checkpoint.safetensors"
_RESULTS = "metrics.json"
_STOPPED = (130, 143)
_TOLD = "What is kept was said."
_SECRETS = ("key", "secret", "token", "password", "credential", "sas", "sig")


def refuse_unfinished(folder: Path, store: LocationLike, *, but: str = "") -> None:
    """Refuse a folder with a training or a cross-validation that goes on, or did not end; say how to go on with it.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of a new result.
    store : LocationLike
        What was given as the store.
    but : str
        Document of what may be there.

    Raises
    ------
    UsageError
        If there is one.
    """
    refuse_running(folder)
    for document, kind in ((RUN, "training"), (CROSS_VALIDATION, "cross-validation")):
        facts = _facts(folder, document)
        if document != but and facts and not is_finished(folder, document, facts):
            remedy = "\n  ".join(ways_on(folder, store)) + "\n  Or choose another `output`."
            raise UsageError(f"the folder holds a {kind} that did not end", place=str(folder), remedy=remedy)


@contextmanager
def telling(folder: Path, store: LocationLike, progress: Progress) -> Iterator[None]:
    """Say what is kept and how to go on, if a signal ends the training or the cross-validation in this block.

    Of blocks around each other, the innermost says it.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        is_signal = isinstance(stop, KeyboardInterrupt) or stop.code in _STOPPED
        if is_signal and _TOLD not in getattr(stop, "__notes__", ()):
            stop.add_note(_TOLD)
            progress.note(f"stopped; {_kept(folder)}")
            for line in ways_on(folder, store):
                progress.note(line)
        raise


def _kept(folder: Path) -> str:
    """Say what is kept of a training or a cross-validation."""
    nothing = f"nothing is kept: the training had not begun, and there is no {folder}"
    return f"kept in {folder}: {state}" if (state := state_of(folder)) else nothing


def state_of(folder: Path) -> str:
    """Say how far a training or a cross-validation has come; an empty text if none was begun in this folder."""
    if facts := _facts(folder, SWEEP):
        points = [folder / f"point-{number}" for number in range(1, len(facts.get("points") or []) + 1)]
        n_done = sum(_is_trained(point, len(facts.get("folds") or [])) for point in points)
        return f"{n_done} of {counted(len(points), 'point')}"
    if facts := _facts(folder, CROSS_VALIDATION):
        names = facts.get("folds") or []
        folds = [folder / f"fold-{number}" for number in range(1, len(names) + 1)]
        done = [fold for fold in folds if (own := _facts(fold, RUN)) and is_finished(fold, RUN, own)]
        begun = next((fold for fold in folds if fold not in done and _facts(fold, RUN)), None)
        more = f", and in {begun.name} {_progress_of(begun)}" if begun else ""
        return f"{len(done)} of {counted(len(folds), 'fold')}{more}"
    return _progress_of(folder) if _facts(folder, RUN) else ""


def _is_trained(point: Path, n_folds: int) -> bool:
    """Return whether a point of a sweep, or each of its folds, is a finished run."""
    folders = [point / f"fold-{number}" for number in range(1, n_folds + 1)] if n_folds else [point]
    return all((own := _facts(one, RUN)) and is_finished(one, RUN, own) for one in folders)


def _progress_of(folder: Path) -> str:
    facts = _facts(folder, RUN) or {}
    if is_finished(folder, RUN, facts):
        return "the whole run, which is finished"
    epochs, step = reached(folder)
    n_epochs = int(facts.get("config", {}).get("epochs", 0))
    if step:
        return f"{epochs} of {counted(n_epochs, 'epoch')} and {counted(step, 'step')} of the next"
    return f"{epochs} of {counted(n_epochs, 'epoch')}" + ", only the evaluation is left" * (epochs == n_epochs)


def ways_on(folder: Path, store: LocationLike) -> list[str]:
    """Return lines that say how to go on; none if there is nothing to go on with."""
    if _facts(folder, SWEEP):
        return ["the same command goes on"]
    for document, command, function in (
        (RUN, "train", "resume"),
        (CROSS_VALIDATION, "cross-validate", "resume_cross_validation"),
    ):
        facts = _facts(folder, document)
        if facts and not is_finished(folder, document, facts):
            if "learner" in facts.get("config", {}) and document == RUN:
                return [f"a baseline takes seconds and begins again: delete {folder}, and give the same command"]
            own = Location.of(store)
            address, first = own.address, facts.get("store_location")
            if first and is_there(Path(first)) and own.absolute().address != first:
                address = first
            command = "pretrain" if facts.get("pretraining") else command
            words = ["songbag", command, address, "-o", _argument(str(folder)), "--resume"]
            python = [repr(str(folder)), repr(address)]
            for name in ("encoder", "optimizer", "schedule", "callbacks"):
                code = facts.get("config", {}).get(name)
                known = [one for one in (code if isinstance(code, list) else [code]) if is_plug_in(one)]
                words += [word for one in known for word in (f"--{name}", one)]
                python += [f"{name}={code!r}"] if known else []
            for name, value in own.storage_options.items():
                shown = "..." if any(part in name for part in _SECRETS) else value
                words += ["--storage-option", f"{name}={shown}"]
            return [
                f"go on with: {shlex.join(words)}",
                f"or in Python: songbag.{function}({', '.join(python)})",
            ]
    return []


def _argument(path: str) -> str:
    """Return a path that is not taken for an option."""
    return f"./{path}" if path.startswith("-") else path


def _facts(folder: Path, document: str) -> dict[str, Any] | None:
    """Return the fields of a document of songbag; None if there is none that can be read."""
    with suppress(SongbagError, OSError, ValueError):
        return read_run_document(folder / document, parse_known, "")
    return None


def is_finished(folder: Path, document: str, facts: dict[str, Any]) -> bool:
    """Return whether what a document describes has ended, by the fields of the document."""
    if document == RUN:
        return facts.get("finished_at") is not None
    sealed = facts.get("files")
    return _RESULTS in sealed if isinstance(sealed, dict) else is_there(folder / _RESULTS)


def reached(folder: Path) -> tuple[int, int]:
    """Return how many epochs, and how many steps of the next, a checkpoint holds, from its header alone."""
    path = folder / _CHECKPOINT
    with suppress(OSError, ValueError, KeyError, TypeError):
        with path.open("rb") as file:
            n_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(n_bytes, LONGEST_HEADER_BYTES)))
        n_epochs = header["history/epoch"]["shape"][0] if "history/epoch" in header else 0
        return int(n_epochs), int(header["__metadata__"]["step"])
    return 0, 0


def refuse_others(given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse options that are not those of what is resumed; a split is compared by its digest."""
    from songbag_training.splits.split import Split  # it loads Arrow, which most commands begin without

    for name, value in given.items():
        if own[name] != (Split.read(value).digest if name == "split" else value):
            what = f"is {value!s}, but it was begun with {own[name]!s}"
            remedy = "What is resumed keeps its own options: leave this one out, or choose another `output`."
            raise UsageError(what, place=name, remedy=remedy)
