"""`Judged`: what a run or a cross-validation said of songs it had not trained on. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from songbag_store.format.document import reason
from songbag_store.storage.files import is_there, within
from songbag_training.errors import DamagedRun, RunNotFound
from songbag_training.runs.document import CROSS_VALIDATION, RUN
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.plan import Plan, sweep_of
from songbag_training.runs.seals import digests, file_fault
from songbag_training.splits.split import Split
from songbag_training.types import Label

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike

Key = tuple[str, str]
"""The store of a song, and its id."""

_PREDICTIONS = "predictions.parquet"
_WRITE_AGAIN = "`songbag evaluate RUN`, or the same `songbag cross-validate`, writes it again."


@dataclasses.dataclass(frozen=True)
class Inherited:
    """Songs that a run knows from the runs that it was started from.

    Attributes
    ----------
    learned : frozenset
        Learned with their labels, or validated by; and copies of such songs.
    heard : frozenset
        Learned without their labels; and copies, if no song was learned with its label.
    """

    learned: frozenset[Key] = frozenset()
    heard: frozenset[Key] = frozenset()

    @classmethod
    def of(cls, rows: pa.Table) -> Self:
        """Return what `inherited.parquet` of one or several runs says."""
        known: dict[str, set[Key]] = {"trained": set(), "pretrained": set(), "copy": set()}
        for row in rows.to_pylist():
            known[row["how"]].add((row["store_uuid"], row["song_id"]))
        copies_of = "trained" if known["trained"] else "pretrained"
        known[copies_of] |= known["copy"]
        return cls(frozenset(known["trained"]), frozenset(known["pretrained"] - known["trained"]))


@dataclasses.dataclass(frozen=True)
class Judged:
    """A finished run or cross-validation with the predictions of the songs that it tested.

    Attributes
    ----------
    name : str
    folder : pathlib.Path
    facts : RunFacts
        Of the run, or of the first fold.
    answers : pyarrow.Table
        Its predictions; of a cross-validation those of all songs, by the fold that did not train on them.
    split : Split
    part : str
        Which songs are compared: ``test``, or ``validation`` if a run has tested none, as a point of a sweep.
    """

    name: str
    folder: Path
    facts: RunFacts
    answers: pa.Table
    split: Split
    part: Literal["test", "validation"] = "test"

    @classmethod
    def read(cls, run: RunLike, name: str) -> Judged:
        """Read a folder.

        Raises
        ------
        RunNotFound
            If nothing finished is there.
        DamagedRun
            If a file is missing or has changed.
        """
        folder = Path(run) if isinstance(run, str | Path) else run.folder
        if not is_there(folder / RUN) and is_there(folder / CROSS_VALIDATION):
            plan = Plan.open(folder)
            if not is_there(folder / _PREDICTIONS):
                table = _of_validation(folder, len(plan.folds))
                return cls(name, folder, _first_fold(folder), table, _split(folder), "validation")
            table = _predictions(folder, digests(plan, _PREDICTIONS))
            return cls(name, folder, _first_fold(folder), table, _split(folder))
        if not is_there(folder / RUN):
            remedy = "Give the folders of runs or cross-validations; `songbag runs DIR` lists them."
            raise RunNotFound("there is no run here (no run.json)", place=str(folder), remedy=remedy)
        facts = RunFacts.read(folder)
        if facts.finished_at is None:
            raise _unfinished(folder, "training")
        _ = facts.song_task  # a run without classes has no predictions, and is refused
        table = _predictions(folder, digests(facts, _PREDICTIONS))
        has_tested = pc.any(pc.equal(table["part"], "test"), min_count=0).as_py()
        return cls(name, folder, facts, table, _split(folder), "test" if has_tested else "validation")

    def on_validation(self) -> Self:
        """Return what it said of its validation songs; a cross-validation that is no point of a sweep has none."""
        if self.of_folds:
            if sweep_of(self.folder) is None:
                return self
            table = _of_validation(self.folder, len(Plan.open(self.folder).folds))
            return dataclasses.replace(self, answers=table, part="validation")
        return dataclasses.replace(self, part="validation")

    @property
    def of_folds(self) -> bool:
        """Whether it is a cross-validation."""
        return "part" not in self.answers.column_names

    @cached_property
    def tested(self) -> pa.Table:
        """Of the songs that are compared."""
        return self.answers if self.of_folds else self.answers.filter(pc.equal(self.answers["part"], self.part))

    @cached_property
    def learned(self) -> frozenset[str]:
        """Songs that it trained on, or validated with, if test songs are compared; of a cross-validation none."""
        if self.of_folds:
            return frozenset()
        before = ("train",) if self.part == "validation" else ("train", "validation")
        chosen = pc.is_in(self.answers["part"], value_set=pa.array(before))
        return frozenset(self.answers["song_id"].filter(chosen).to_pylist())

    @cached_property
    def inherited(self) -> Inherited:
        """What the runs that it was started from know of songs; of a cross-validation, those of all its folds."""
        folders = [self.folder] if is_there(self.folder / RUN) else within(self.folder, "fold-*")
        found = []
        for folder in folders:
            facts = RunFacts.read(folder)
            if facts.parent is not None:
                from songbag_training.runs.overlap import read_inherited  # it loads what compares recordings
                from songbag_training.runs.run import Run

                found.append(read_inherited(Run(folder, facts)))
        return Inherited.of(pa.concat_tables(found)) if found else Inherited()

    @property
    def several(self) -> bool:
        """Whether a song may be of several classes."""
        return self.facts.task == "multi-label"

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each tested song."""
        return {song_id: row for row, song_id in enumerate(self.tested["song_id"].to_pylist())}

    @cached_property
    def labels(self) -> list[Label]:
        """The label of each tested song, as it was when it was tested."""
        return _labels(self.tested["label"])

    @cached_property
    def said(self) -> list[Label]:
        """What was predicted of each tested song."""
        return _labels(self.tested["predicted"])

    @cached_property
    def songs(self) -> frozenset[str]:
        """All songs that it knew, in whichever part."""
        return frozenset(self.split.song_ids)


def _first_fold(folder: Path) -> RunFacts:
    """Return the facts of the first fold of a cross-validation."""
    fold = folder / "fold-1"
    try:
        return RunFacts.read(fold)
    except (FileNotFoundError, NotADirectoryError):
        remedy = "Restore it from a copy; or the same `songbag cross-validate` trains this fold again."
        raise DamagedRun("is missing", place=str(fold / RUN), remedy=remedy) from None


def _split(folder: Path) -> Split:
    return Split.read(folder / "split.parquet")


def _unfinished(folder: Path, kind: str) -> RunNotFound:
    remedy = "Go on with it: the command that began it, with --resume."
    return RunNotFound(f"the {kind} was not finished", place=str(folder), remedy=remedy)


def _predictions(folder: Path, wanted: set[str]) -> pa.Table:
    path = folder / _PREDICTIONS
    fault = file_fault(path, wanted) if wanted else None
    if fault:
        raise DamagedRun(fault, place=str(path), remedy=_WRITE_AGAIN)
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise DamagedRun(f"cannot be read ({reason(error)})", place=str(path), remedy=_WRITE_AGAIN) from error


def _of_validation(folder: Path, n_folds: int) -> pa.Table:
    """Return what the folds of a point of a sweep said of their validation songs, each by the first that has it.

    Every point has the same folds and the same validation songs in them.
    """
    folds = [folder / f"fold-{number}" for number in range(1, n_folds + 1)]
    if sweep_of(folder) is None or not all(is_there(fold / RUN) for fold in folds):
        raise _unfinished(folder, "cross-validation")
    found, known = [], pa.array([], pa.string())
    for fold in folds:
        facts = RunFacts.read(fold)
        if facts.finished_at is None:
            raise _unfinished(folder, "cross-validation")
        table = _predictions(fold, digests(facts, _PREDICTIONS))
        own = table.filter(pc.equal(table["part"], "validation"))
        found.append(own.filter(pc.invert(pc.is_in(own["song_id"], value_set=known))))
        known = pa.concat_arrays([known, *found[-1]["song_id"].chunks])
    return pa.concat_tables(found)


def _labels(column: pa.ChunkedArray) -> list[Any]:
    values = column.to_pylist()
    return [own if isinstance(own, str) else tuple(own) for own in values]
