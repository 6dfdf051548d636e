"""The run that a training starts from: what is asked of it. Neither Keras nor TensorFlow here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Self

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.storage.files import file_digest
from songbag_store.words import counted
from songbag_training.config import AUTO, TrainConfig, is_plug_in
from songbag_training.errors import DamagedRun
from songbag_training.runs.facts import ParentFacts, RunFacts
from songbag_training.runs.seals import CHANGED, digests, tensors_fault
from songbag_training.runs.store import refuse_other_spec

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike

WEIGHTS = "weights.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class Parent:
    """A finished run whose encoder a training begins with.

    Attributes
    ----------
    folder : pathlib.Path
        Where it is.
    facts : RunFacts
        What its `run.json` says.
    weights_sha256 : str
        Digest of its weights, which are whole.
    """

    folder: Path
    facts: RunFacts
    weights_sha256: str

    @classmethod
    def open(cls, run: RunLike) -> Self:
        """Open a run to start from.

        Raises
        ------
        RunNotFound
            If there is none, or its training was not finished.
        DamagedRun
            If `run.json` or the weights are not what songbag wrote.
        """
        folder = Path(run) if isinstance(run, str | Path) else run.folder
        facts = RunFacts.open(folder)
        path = folder / WEIGHTS
        if fault := tensors_fault(path, sealed=facts.files is not None):
            raise DamagedRun(fault, place=str(path), remedy="Restore the file from a copy.")
        digest = file_digest(path)
        if (wanted := digests(facts, WEIGHTS)) and digest not in wanted:
            raise DamagedRun(CHANGED, place=str(path), remedy="Restore the file from a copy.")
        return cls(folder, facts, digest)

    @classmethod
    def again(cls, recorded: ParentFacts) -> Self:
        """Open the run that something was started from before.

        Raises
        ------
        UsageError
            If there is no longer that run with those weights.
        """
        place = recorded["folder"]
        remedy = "What is left to train begins with its weights: put that run back there, or begin again."
        try:
            found = cls.open(place)
        except OSError as error:
            what = f"the run that this was started from is not there as it was ({getattr(error, 'what', error)})"
            raise UsageError(what, place=place, remedy=remedy) from error
        if (found.facts.run_id, found.weights_sha256) != (recorded["run_id"], recorded["weights_sha256"]):
            raise UsageError("this is not the run that this was started from", place=place, remedy=remedy)
        return found

    @property
    def n_members(self) -> int:
        """How many networks its model has."""
        return self.facts.network(self.folder).n_members

    @property
    def recorded(self) -> ParentFacts:
        """What the documents of its children say of it."""
        digest = self.weights_sha256
        return ParentFacts(run_id=self.facts.run_id, weights_sha256=digest, folder=str(self.folder.absolute()))

    def encoder_for(self, config: TrainConfig, store: SongStore) -> str:
        """Return the name of the encoder of a training that starts from this run: its own.

        Raises
        ------
        SpecMismatch
            If the store holds other features than the run was trained on, naming what differs.
        UsageError
            If another encoder is asked for, or its encoder is code from outside songbag that was not named.
        """
        refuse_other_spec(self.facts, store)
        network = self.facts.network(self.folder)
        own = network.encoder
        if config.members is not None and self.n_members not in (1, config.members):
            what = f"is {config.members}, but the run to start from has {counted(self.n_members, 'member')}"
            remedy = f"Give {self.n_members}, or start from a run with one member: each then begins with its encoder."
            raise UsageError(what, place="members", remedy=remedy)
        if config.encoder == own:
            return own
        if config.encoder != AUTO:
            what = f"is {config.encoder!r}, but the run to start from has the encoder {own!r}"
            remedy = "Leave `encoder` out, or start from a run with that encoder."
            raise UsageError(what, place="encoder", remedy=remedy)
        if is_plug_in(own):
            what = f"the encoder of this run is {own!r}, code from outside songbag, which is not run unasked"
            remedy = f"If you trust it, allow it by its name: `encoder='{own}'`."
            raise UsageError(what, place=str(self.folder), remedy=remedy)
        return own


def encoder_of(parent: Parent | None, config: TrainConfig, store: SongStore, *, resumed: bool) -> str:
    """Return the name of the encoder of a training, which may start from a run; see `Parent.encoder_for`.

    Raises
    ------
    UsageError
        If something is to stay as it is in a new training, and there is no run that it comes from.
    """
    if parent is not None:
        return parent.encoder_for(config, store)
    if config.freeze and not resumed:
        what = f"is {config.freeze!r}, but there is no run that it comes from: random weights would stay random"
        raise UsageError(what, place="freeze", remedy="Give `from_run` too, or leave it out.")
    return config.encoder_for(store.spec)
