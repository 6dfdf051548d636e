"""The run folder: all that a training leaves behind, enough to use its model anywhere.

::

    run.json             what was trained, on what, with which songbag, and digests: `RunFacts`. Written last
    weights.safetensors  of the epoch whose validation was best, or of the last
                         and the trees that count beside the networks, if there are any
    split.parquet        song_id, label, part, copy_group, same_audio
    inherited.parquet    of a run that was started from another one: the songs that the runs before have learned from
    history.csv          one line an epoch
    attempt.json         while it is not finished: see `songbag_training.runs.attempt`
    checkpoint.safetensors  the state of the training, of a finished one to go on: see `runs.checkpoints`
    tensorboard/ mlflow/ the history for another tool, if asked for; files of MLflow are not sealed
    metrics.json         per subset: of songs, of windows
    predictions.parquet  song_id, label, predicted, part, p_<class>...
    windows.parquet      song_id, window, start_s, end_s, weight, p_<class>..., turns_to
    report.html          the page to look at, see `songbag_training.pages`; not sealed: it is made of the other files

The column of a class is ``p_`` and its name: names are unique, and no other column begins with ``p_``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from songbag_store.errors import UsageError
from songbag_store.format.document import parse_document, reason, write_fields
from songbag_store.loading import quiet
from songbag_store.sql.shown import Shown
from songbag_store.storage.files import claim_folder, file_digest, is_there, write_whole
from songbag_store.terminal import plain_name
from songbag_training.config import TrainConfig, is_plug_in
from songbag_training.errors import DamagedRun, ModelError, RunError
from songbag_training.evaluation.headline import headline_names, shown_name
from songbag_training.evaluation.predictions import Scorer
from songbag_training.runs.document import RUN, read_run_document
from songbag_training.runs.facts import FloorFacts, RunFacts
from songbag_training.runs.seals import digests, file_fault, replacing_results, tensors_fault
from songbag_training.runs.weights import load_weights, opened_tensors, outline, read_tensors
from songbag_training.songs.task import Task
from songbag_training.splits.split import Split
from songbag_training.summaries.predictor import Predictor
from songbag_training.summaries.scorer import SummaryScorer
from songbag_training.summaries.statistics import summary_names
from songbag_training.summaries.trees import Tensors, Trees

if TYPE_CHECKING:
    import keras

INHERITED = "inherited.parquet"
"""The songs that the runs before one have learned from, see `songbag_training.runs.overlap`."""

_SPLIT = "split.parquet"
_WEIGHTS = "weights.safetensors"
_METRICS = "metrics.json"
_PREDICTIONS = "predictions.parquet"
_TRAINED = (_WEIGHTS, "history.csv")
_RESULTS = (_METRICS, _PREDICTIONS, "windows.parquet", "confusion.png")
_LOGS = "tensorboard"
_CHECKPOINT = "checkpoint.safetensors"
_WRITE_AGAIN = "Write it again with `songbag evaluate RUN`."
_REMAKE = "Restore it from a copy, or make it again."
_MOST_SHOWN = 20


class Run(Shown):
    """A run folder.

    Attributes
    ----------
    folder : pathlib.Path
        Where it is.
    facts : RunFacts
        What `run.json` says.
    """

    def __init__(self, folder: Path, facts: RunFacts) -> None:
        self.folder = folder
        self.facts = facts
        self._allowed_encoder: str | None = None

    @classmethod
    def create(
        cls, folder: Path, facts: RunFacts, split: Split, more: Callable[[Path], None] = lambda folder: None
    ) -> Self:
        """Begin a run in a new or empty folder; `more` writes what else it begins with, before it counts as begun."""
        claim_folder(folder)
        split.write(folder / _SPLIT)
        more(folder)
        run = cls(folder, facts)
        run._write(dataclasses.replace(facts, files={name: file_digest(folder / name) for name in run._begun()}))
        return run

    @classmethod
    def open(cls, run: RunLike) -> Run:
        """Open a finished run; one that is open is returned as it is.

        Raises
        ------
        RunNotFound
            If there is none, or its training was not finished.
        DamagedRun
            If `run.json` is not what songbag wrote.
        NewerRun
            If a newer songbag wrote it.
        """
        if isinstance(run, Run):
            return run
        return cls(Path(run), RunFacts.open(Path(run)))

    @classmethod
    def open_unfinished(cls, folder: str | Path) -> Self:
        """Open a run that may still be under way; see `open`."""
        return cls(Path(folder), RunFacts.open(Path(folder), finished=False))

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`, see `songbag_training.runs.evaluate.Evaluation`."""
        path = self._unchanged(_METRICS)
        try:
            return read_run_document(path, parse_document, _WRITE_AGAIN)
        except FileNotFoundError:
            raise DamagedRun("is missing", place=str(path), remedy=_WRITE_AGAIN) from None

    def predictions(self, *, arrow: bool = False) -> Any:
        """Return the predictions of the run's songs: song_id, label, predicted, part, p_<class>...

        They come as pandas, or as Arrow with ``arrow=True``.

        Raises
        ------
        DamagedRun
            If the file is missing, is not a table or has changed.
        """
        path = self._unchanged(_PREDICTIONS)
        try:
            table = pq.read_table(path, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise DamagedRun(f"cannot be read ({reason(error)})", place=str(path), remedy=_WRITE_AGAIN) from error
        return table if arrow else table.to_pandas()

    def _facts(self) -> Iterator[tuple[str, object]]:
        facts = self.facts
        yield "run", self.folder
        if facts.pretraining is None:
            yield "label", facts.label
        more = f", and {len(facts.classes) - _MOST_SHOWN} more" if len(facts.classes) > _MOST_SHOWN else ""
        shown = ", ".join(plain_name(name, 40) for name in facts.classes[:_MOST_SHOWN]) + more
        yield "classes", shown or "none: an encoder, learned without labels"
        if facts.thresholds or facts.costs:
            yield "predicted", facts.song_task.rule
        yield "model", facts.config.model_in_words
        yield "store", f"{facts.store_location}, snapshot {facts.snapshot}"
        yield "features", facts.spec.in_words()
        if facts.finished_at is None:
            yield "finished", "not yet"
            return
        yield "finished", facts.finished_at + (f", weights of epoch {facts.best_epoch}" if facts.best_epoch else "")
        with suppress(RunError):
            # A point of a sweep that was not tested has those of its validation songs.
            kind, metrics = next((one, self.metrics[one]) for one in ("test", "validation") if one in self.metrics)
            for name in headline_names(metrics["song"]):
                yield f"{'held-out' if kind == 'test' else kind} {shown_name(name)}", metrics["song"][name]

    def finish(self, **changes: Any) -> None:
        """Write `run.json` again, with the results of the training and every seal."""
        kept = (*self._begun(), *_RESULTS)
        files = {name: digest for name, digest in (self.facts.files or {}).items() if name in kept}
        logged = sorted(os.listdir(self.folder / _LOGS)) if is_there(self.folder / _LOGS) else []
        events = [f"{_LOGS}/{name}" for name in logged if name.startswith("events.out.tfevents.")]
        for name in (_SPLIT, *_TRAINED, *_RESULTS, *events):
            if name not in files and is_there(self.folder / name):
                files[name] = file_digest(self.folder / name)
        self._write(dataclasses.replace(self.facts, files=files, **changes))

    def reopen(self, **changes: Any) -> None:
        """Write `run.json` again as that of a training that goes on; files that it changes are no longer sealed."""
        sealed, kept = self.facts.files, (*self._begun(), *_RESULTS)
        files = None if sealed is None else {name: own for name, own in sealed.items() if name in kept}
        self._write(dataclasses.replace(self.facts, files=files, finished_at=None, best_epoch=None, **changes))

    def _begun(self) -> list[str]:
        """Return the files that are there from the beginning and never change."""
        return [name for name in (_SPLIT, INHERITED) if is_there(self.folder / name)]

    @contextmanager
    def replacing_results(self) -> Iterator[Path]:
        """Yield a folder for new results of the run; see `songbag_training.runs.seals.replacing_results`."""
        with replacing_results(self.folder, lambda: self.open_unfinished(self.folder).facts, self._write) as staged:
            yield staged

    def predict_by(self, task: Task) -> None:
        """Keep the thresholds or the costs of a task in `run.json`: from now on the run predicts by them."""
        thresholds = dict(zip(task.classes, task.thresholds, strict=True)) if task.thresholds else None
        costs = [list(row) for row in task.costs] or None
        self._write(dataclasses.replace(self.facts, thresholds=thresholds, costs=costs))

    def keep_floor(self, floor: FloorFacts) -> None:
        """Keep in `run.json` what a baseline reaches on the test songs; `metrics.json` then tells it too."""
        self._write(dataclasses.replace(self.facts, floor=floor))

    @property
    def network(self) -> TrainConfig:
        """The options of the network.

        Raises
        ------
        UsageError
            If the run is a baseline, which has none.
        """
        return self.facts.network(self.folder)

    def require_network(self) -> None:
        """Refuse a run that is a baseline; see `network`."""
        self.facts.network(self.folder)

    @property
    def weights_path(self) -> Path:
        """The file of the weights."""
        return self.folder / _WEIGHTS

    def weights_fault(self, path: Path) -> str | None:
        """Return what is wrong with the file of the weights, by `run.json` or by its own digest; None if nothing is."""
        if self.is_sealed and self.facts.finished_at is not None:
            return file_fault(path, digests(self.facts, path.name))
        return tensors_fault(path, sealed=self.is_sealed)

    @property
    def is_sealed(self) -> bool:
        """Whether the run was begun since there are seals."""
        return self.facts.files is not None

    def _write(self, facts: RunFacts) -> None:
        write_whole(self.folder / RUN, write_fields(facts))
        self.facts = facts

    def _unchanged(self, name: str) -> Path:
        """Return the path of a file, after comparing it with its digest if it is sealed."""
        path, wanted = self.folder / name, digests(self.facts, name)
        if wanted and file_fault(path, wanted):
            # Perhaps another process has evaluated the run since it was opened.
            self.facts = self.open_unfinished(self.folder).facts
            if fault := file_fault(path, digests(self.facts, name)):
                raise DamagedRun(fault, place=str(path), remedy=_WRITE_AGAIN)
        return path

    def allow_encoder(self, name: str | None) -> Self:
        """Allow the run's encoder to be imported and called, if it is a function outside songbag.

        A run folder may come from a stranger. A name in it is no reason to run what it names.

        Parameters
        ----------
        name : str or None
            ``module:function``, as the training was told; None changes nothing.

        Raises
        ------
        UsageError
            If the run has another encoder.
        """
        if name is not None:
            if name != (own := self.network.encoder):
                what = f"the encoder of this run is {own!r}, not {name!r}"
                raise UsageError(what, place=str(self.folder))
            self._allowed_encoder = name
        return self

    def require_encoder(self) -> None:
        """Import an encoder from outside songbag.

        Raises
        ------
        UsageError
            If it was not allowed.
        """
        name = self.network.encoder
        if is_plug_in(name):
            if name != self._allowed_encoder:
                what = f"the encoder of this run is {name!r}, code from outside songbag, which is not run unasked"
                remedy = f"If you trust it, allow it by its name: `encoder='{name}'`."
                raise UsageError(what, place=str(self.folder), remedy=remedy)
            with quiet():
                from songbag_training.models.plugins import load_encoder

            load_encoder(name)

    def load_scorer(self) -> Scorer:
        """Return what scores whole songs: the network, see `load_model`, or the baseline.

        Raises
        ------
        DamagedRun
            If the weights are damaged or those of another model.
        """
        if self.facts.is_baseline:
            return SummaryScorer(self.load_predictor(), self.facts.spec)
        with quiet():  # it loads TensorFlow
            from songbag_training.evaluation.score import SongScorer

        return SongScorer(self.load_model(), self.facts.song_task)

    def load_predictor(self) -> Predictor:
        """Return the linear model and the trees of a baseline; it needs neither scikit-learn nor TensorFlow.

        Raises
        ------
        DamagedRun
            If they are damaged or do not fit `run.json`.
        """
        facts = self.facts
        tensors = read_tensors(self.weights_path, None, "arrays", fault=self.weights_fault)
        with self._fitting():
            return Predictor.of_tensors(tensors, facts.song_task, facts.spec, facts.baseline)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Say where arrays are that do not fit `run.json`."""
        try:
            yield
        except ValueError as error:
            raise DamagedRun(str(error), place=str(self.weights_path), remedy=_REMAKE) from None

    def build_model(self) -> keras.Model:
        """Build the model from `run.json` alone, with fresh weights and bags of any size."""
        self.require_encoder()
        with quiet():
            from songbag_training.models.model import song_model

        facts, config = self.facts, self.network
        options: dict[str, Any] = {"encoder": config.encoder, "n_members": config.n_members, "pooling": config.pooling}
        return song_model(facts.spec, facts.song_task, **options)

    def load_model(self) -> keras.Model:
        """Build the model and load its weights, and put the trees beside it that count in its predictions, if any.

        Raises
        ------
        DamagedRun
            If the weights are damaged or those of another model.
        UsageError
            If the encoder is a function outside songbag that was not allowed (see `allow_encoder`) or is not there.
        """
        model, tensors = self._load()
        if not self.network.tree_share:
            return model
        facts = self.facts
        with self._fitting():
            trees = Trees.of_tensors(tensors, len(summary_names(facts.spec, "windows")), len(facts.classes))
        return self.with_trees(model, trees)

    def with_trees(self, model: keras.Model, trees: Trees | None) -> keras.Model:
        """Return the model of the networks with the trees that count beside them; itself if there are none."""
        share = self.network.tree_share
        if trees is None or not share:
            return model
        with quiet():
            from songbag_training.summaries.blend import blended

        return blended(model, self.facts.spec, trees, self.facts.song_task, share)

    def load_networks(self) -> keras.Model:
        """Build the networks and load their weights, without trees that count beside them.

        The header of the file is checked before memory is taken for either.

        Raises
        ------
        DamagedRun
            If the weights are damaged or those of another model.
        UsageError
            If the encoder is a function outside songbag that was not allowed (see `allow_encoder`) or is not there.
        """
        return self._load()[0]

    def _load(self) -> tuple[keras.Model, Tensors]:
        """Return the networks, and the arrays of the trees beside them; see `load_networks`."""
        self.require_encoder()
        path = self.weights_path
        try:
            with opened_tensors(path, outline(self.build_model)):
                pass  # the comparison is enough
            model = self.build_model()
        except ModelError as error:
            raise DamagedRun(f"describes no model ({error.what})", place=str(self.folder / RUN)) from error
        return model, load_weights(model, path, self.weights_fault)

    def split(self) -> Split:
        """Read the split.

        Raises
        ------
        DamagedRun
            If it is not the one that was trained with.
        """
        path = self.folder / _SPLIT
        split = Split.read(path)
        if split.digest != self.facts.split_sha256:
            what, remedy = "is not the split that this run was trained with", "Restore it from a copy, or train again."
            raise DamagedRun(what, place=str(path), remedy=remedy)
        return split


RunLike: TypeAlias = Run | str | Path
"""The forms in which a user may give a run; `Run.open` takes them all."""
