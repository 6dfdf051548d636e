"""`Contest`: the points of a sweep trained, compared by their validation songs, and the best of them tested."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

from songbag_store import SongStore
from songbag_store.errors import SongbagError
from songbag_store.progress import Progress, Silent, stretch
from songbag_store.storage.files import file_digest, is_there
from songbag_store.words import counted
from songbag_training.errors import RunError
from songbag_training.evaluation.headline import shown_name
from songbag_training.fit.cross_validation import fold_split, fold_trials, require_parts
from songbag_training.fit.material import check_monitor, check_thresholds
from songbag_training.fit.pooled import sum_up
from songbag_training.fit.train import tell_held_out
from songbag_training.fit.trial import Trial
from songbag_training.fit.trials import Here, There, workplace
from songbag_training.runs.attempt import last_attempt, record_failure
from songbag_training.runs.document import CROSS_VALIDATION, SWEEP
from songbag_training.runs.evaluate import judge_split
from songbag_training.runs.history import History, read_rows
from songbag_training.runs.plan import Plan, SweepPlan, judged_by, point_name, validation_value
from songbag_training.runs.run import Run
from songbag_training.splits.deal import Choice
from songbag_training.splits.split import Split
from songbag_training.sweeps.points import in_words
from songbag_training.work import Cluster

_SPLIT = "split.parquet"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The folder of the best point, and how many were tried and failed."""

    winner: Path
    n_points: int
    n_failed: int


class Contest:
    """A call of `sweep`: trains the points that are left, chooses the best, tests it.

    Parameters
    ----------
    folder : pathlib.Path
        Of the sweep.
    store : SongStore
        With its memory.
    plan : SweepPlan
    choice : Choice
        The songs, and the split of all points.
    progress : Progress
    """

    def __init__(self, folder: Path, store: SongStore, plan: SweepPlan, choice: Choice, progress: Progress) -> None:
        self._folder, self._store, self._plan, self._choice, self._progress = folder, store, plan, choice, progress
        self._metric, self._sign = judged_by(plan.config)
        self._failed: dict[int, Exception] = {}
        self._told: set[int] = set()
        self._values: dict[int, float] = {}
        self._splits = splits_of(plan, choice)

    def hold(self, cluster: Cluster) -> Outcome:
        """Do what is left to do."""
        n, made = len(self._plan.points), self._choice.split
        songs, classes = counted(len(made.song_ids), "song"), counted(len(self._choice.labels.classes), "class")
        in_folds = f", each in {counted(len(self._plan.folds), 'fold')}" if self._plan.folds else ""
        self._progress.note(f"{songs} of {classes}; {counted(n, 'point')}{in_folds}")
        for note in self._choice.notes:
            self._progress.note(note)
        if self._plan.winner is None:
            for number in range(1, n + 1):
                self._prepare(number)
            everything = [trial for number in range(1, n + 1) for trial in self._trials(number)]
            with (
                stretch(self._progress, n, "points"),
                workplace(self._folder, self._store, cluster, everything, self._begin, self._progress) as place,
            ):
                if self._plan.search.halving:
                    self._halve(place)
                else:
                    self._train(place, list(range(1, n + 1)))
            self._choose()
        return self._test()

    def _begin(self, trial: Trial) -> Progress:
        return _Epochs(self._progress, lambda: len(self._told), trial.folder)

    def _point(self, number: int) -> Path:
        return self._folder / point_name(number)

    def _prepare(self, number: int) -> None:
        """Write the documents of a point that is a cross-validation."""
        folder, plan = self._point(number), self._plan
        if not plan.folds or is_there(folder / CROSS_VALIDATION):
            return
        folder.mkdir(exist_ok=True)
        self._choice.split.write(folder / _SPLIT)
        self._cross_validation(number, {_SPLIT: file_digest(folder / _SPLIT)}).write(folder / CROSS_VALIDATION)

    def _cross_validation(self, number: int, files: dict[str, str]) -> Plan:
        plan = self._plan
        return Plan(
            store_uuid=plan.store_uuid,
            snapshot=plan.snapshot,
            label=plan.label,
            where=plan.where,
            split_sha256=plan.split_sha256,
            folds=plan.folds,
            config=plan.config_of(plan.points[number - 1]),
            files=files,
            parent=plan.parent,
        )

    def _trials(self, number: int, until: int | None = None, *, ends: bool = True) -> list[Trial]:
        """Return the trainings of a point."""
        plan, name = self._plan, point_name(number)
        if plan.folds:
            trials = fold_trials(self._cross_validation(number, {}), self._splits, f"{name}/")
        else:
            config, split = plan.config_of(plan.points[number - 1]), self._splits[0]
            one = Trial(folder=name, label=plan.label, where=plan.where, split=split, config=config)
            trials = [dataclasses.replace(one, parent=plan.parent)]
        return [dataclasses.replace(trial, until=until, ends=ends) for trial in trials]

    def _train(self, place: Here | There, numbers: list[int], until: int | None = None, *, ends: bool = True) -> None:
        """Train points; one of which a training fails is out."""
        left = {number: self._trials(number, until, ends=ends) for number in numbers}
        of_trial = {trial.folder: number for number, trials in left.items() for trial in trials}
        waiting = {number: {t.folder for t in trials if not t.is_done(self._folder)} for number, trials in left.items()}
        for number in numbers:
            if not waiting[number] and ends:
                self._tell(number)
        todo = [trial for number in numbers for trial in left[number] if trial.folder in waiting[number]]
        for trial, error in place.run(todo):
            number = of_trial[trial.folder]
            waiting[number].discard(trial.folder)
            if error is not None:
                self._fail(number, trial, error)
            elif not waiting[number] and ends and number not in self._failed:
                self._tell(number)

    def _fail(self, number: int, trial: Trial, error: Exception) -> None:
        folder = self._folder / trial.folder
        if (last_attempt(folder) or ("", ""))[0] not in ("failed", "running"):
            record_failure(folder, error)
        if self._plan.folds:
            record_failure(self._point(number), error)
        if number not in self._failed:
            self._failed[number] = error
            self._line(number, f"failed: {_what(error)}")

    def _tell(self, number: int) -> None:
        """Show the value of a point that is trained."""
        value = validation_value(self._point(number), self._plan)
        self._values[number] = -math.inf if value is None else self._sign * value
        best = max(self._values, key=lambda one: (self._values[one], -one))
        shown = "none" if value is None else f"{value:.3f}"
        self._line(number, f"validation {shown_name(self._metric)} {shown}" + ", the best so far" * (best == number))

    def _line(self, number: int, what: str) -> None:
        self._told.add(number)
        n, point = len(self._plan.points), self._plan.points[number - 1]
        line = f"{point_name(number)} of {n} ({in_words(point)}): {what}"
        self._progress.note(line)
        self._progress.advance(len(self._told), f"{len(self._told)} of {counted(n, 'point')}")

    def _halve(self, place: Here | There) -> None:
        """Train all points for some epochs, the better half of them for twice as many, and so on.

        A point that goes on does so after its checkpoint: it ends as it would have without halving.
        """
        alive, n_epochs = list(range(1, len(self._plan.points) + 1)), self._plan.config.epochs
        n_rungs = min(int(math.log2(len(alive))), int(math.log2(n_epochs)))
        for rung in range(n_rungs, 0, -1):
            until = n_epochs >> rung
            self._train(place, alive, until, ends=False)
            alive = [number for number in alive if number not in self._failed]
            ranked = sorted(alive, key=lambda number: (-self._reached(number, until), number))
            kept = sorted(ranked[: -(-len(ranked) // 2)])
            out = [number for number in alive if number not in kept]
            if out:
                self._progress.note(f"after {counted(until, 'epoch')}: {len(kept)} of {len(alive)} points go on")
                self._train(place, out, until)
            alive = kept
        self._train(place, alive)

    def _reached(self, number: int, until: int) -> float:
        """Return the best value of a point in its first epochs, more is better; of folds the mean."""
        values = []
        for trial in self._trials(number):
            rows = read_rows(self._folder / trial.folder / "history.csv")[:until]
            value = History(rows, self._plan.config.monitor).best_value
            values.append(-math.inf if value is None else self._sign * value)
        return sum(values) / len(values)

    def _choose(self) -> None:
        """Choose the point with the best validation value, and keep the choice before it is tested."""
        able = {number: value for number, value in self._values.items() if number not in self._failed}
        if not able:
            number, error = next(iter(self._failed.items()))
            what = error.what if isinstance(error, SongbagError) else f"{type(error).__name__}: {error}"
            remedy = error.remedy if isinstance(error, SongbagError) else ""
            raise RunError(
                f"no point could be trained; {point_name(number)}: {what}", place=str(self._folder), remedy=remedy
            )
        best = max(able, key=lambda one: (able[one], -one))
        self._plan = dataclasses.replace(self._plan, winner=best)
        self._plan.write(self._folder / SWEEP)

    def _test(self) -> Outcome:
        """Judge the test songs of the winner, once, and say how many were tried."""
        number = self._plan.winner
        assert number is not None
        folder, n = self._point(number), len(self._plan.points)
        n_failed = n - sum(self._is_trained(other) for other in range(1, n + 1))
        tried = f"{counted(n, 'point')} tried" + (f", {n_failed} failed" if n_failed else "")
        by = f"by {shown_name(self._metric)} of the validation songs"
        self._progress.note(
            f"{tried}; {by} the best is {point_name(number)} ({in_words(self._plan.points[number - 1])})"
        )
        for trial in self._trials(number):
            run = Run.open(self._folder / trial.folder).allow_encoder(trial.config.encoder)
            if "test" not in run.metrics:
                judge_split(run, self._store, run.load_scorer())
        if self._plan.folds:
            sum_up(folder, Plan.open(folder), self._choice, self._progress)
        else:
            tell_held_out(Run.open(folder), self._progress)
        return Outcome(folder, n, n_failed)

    def _is_trained(self, number: int) -> bool:
        return all(trial.is_done(self._folder) for trial in self._trials(number))


def splits_of(plan: SweepPlan, choice: Choice) -> list[Split]:
    """Return the split of each training of a point: one, or that of each fold with its validation songs."""
    made, labels = choice.split, choice.labels
    if not plan.folds:
        return [made]
    return [fold_split(made, name, labels, plan.label, plan.config, validates=True) for name in plan.folds]


def require_possible(plan: SweepPlan, choice: Choice) -> None:
    """Refuse what no training of a sweep could do, and thresholds that are not those of the classes, before any work.

    Raises
    ------
    UsageError
        As a training would.
    """
    for point in plan.points:
        check_thresholds(plan.config_of(point), choice.labels.task)
    for split in splits_of(plan, choice):
        check_monitor(plan.config, choice.labels, split)
    require_parts(plan.config)


class _Epochs(Silent):
    """Shows the epochs of a training beside the bar of the points."""

    def __init__(self, whole: Progress, n_told: Callable[[], int], name: str) -> None:
        self._whole, self._n_told, self._name = whole, n_told, name

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        """Show the state, and never a line."""
        self._whole.advance(self._n_told(), f"{self._name}: {state}")


def _what(error: Exception) -> str:
    return error.what if isinstance(error, SongbagError) else f"{type(error).__name__}: {error}"
