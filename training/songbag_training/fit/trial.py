"""`Trial`: one of the trainings of a cross-validation or a sweep, which an earlier call may have begun."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import keras

from songbag_store import SongStore
from songbag_store.progress import Progress
from songbag_store.storage.files import is_there
from songbag_training.config import TrainConfig
from songbag_training.errors import DamagedRun
from songbag_training.fit.material import prepare
from songbag_training.fit.train import go_on, train_on
from songbag_training.lineage.parent import Parent
from songbag_training.parts.parts import Parts
from songbag_training.runs.document import RUN
from songbag_training.runs.facts import ParentFacts, RunFacts
from songbag_training.runs.history import read_rows
from songbag_training.runs.run import Run
from songbag_training.splits.split import Split


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training.

    Attributes
    ----------
    folder : str
        The run folder, below that of the whole: ``fold-2``, ``point-3/fold-1``.
    label, where
        As for `songbag_training.fit.train.train`.
    split : Split
        Into train, validation and test.
    config : TrainConfig
        Its encoder is one of the windows, not ``auto``.
    parent : ParentFacts or None
        The run with whose encoder it begins.
    until : int or None
        Epochs after which it pauses; None for all.
    ends : bool
        Whether it is finished after these epochs, instead of paused.
    """

    folder: str
    label: str
    where: str | None
    split: Split
    config: TrainConfig
    parent: ParentFacts | None = None
    until: int | None = None
    ends: bool = True

    def is_done(self, top: Path) -> bool:
        """Return whether an earlier call did it, in the folder of the whole."""
        folder = top / self.folder
        if not is_there(folder / RUN):
            return False
        try:
            if RunFacts.read(folder).finished_at is not None:
                return True
            return not self.ends and self.until is not None and len(read_rows(folder / "history.csv")) >= self.until
        except DamagedRun:
            return False  # to be told by its own training, which fails alone

    def run(self, top: Path, store: SongStore, progress: Progress) -> Run:
        """Train, or go on with what an earlier call began; a training that it finished is kept."""
        folder = top / self.folder
        keras.backend.clear_session()
        if not is_there(folder / RUN):
            # A call that was stopped before the training began may have left a folder.
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            # What is to be said of the labels was said of the whole.
            parent = Parent.again(self.parent).folder if self.parent else None
            material = prepare(store, self.label, self.where, self.split, config=self.config, from_run=parent)
            return train_on(material, folder, progress, until=self.until, ends=self.ends)
        run = Run.open_unfinished(folder)
        run.split()
        if run.facts.finished_at is None:
            progress.note(f"going on with {folder}")
            # What is named there was allowed for the whole cross-validation or sweep.
            parts = Parts.of(self.config.to_dict())
            return go_on(run, store, self.config.encoder, progress, parts=parts, until=self.until, ends=self.ends)
        progress.note(f"finished before: {folder}")
        return run
