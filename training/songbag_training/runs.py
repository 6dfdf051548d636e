"""The run folder: everything a training leaves behind, and all that is needed to use its model anywhere.

::

    run.json             what was trained, on what, with which songbag: `RunFacts`. Says last of all that it is finished
    weights.safetensors  of the epoch with the lowest validation loss
    split.parquet        song_id, label, part
    history.csv          one line an epoch
    metrics.json         per part: of songs, of windows
    predictions.parquet  song_id, label, predicted, part, p_<class>...
    windows.parquet      song_id, window, start_s, end_s, weight, p_<class>...

A class's column is ``p_`` and its name as it is: names are unique, and no other column begins so.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_type_hints

import keras

from songbag_store import FeatureSpec
from songbag_store.errors import UsageError
from songbag_training.config import TrainConfig
from songbag_training.errors import DamagedRun, ModelError, RunError, RunNotFound
from songbag_training.files import write_whole
from songbag_training.model import song_model
from songbag_training.splits import Split
from songbag_training.weights import load_weights

FORMAT = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The content of `run.json`."""

    format: int = FORMAT
    """Number of this layout; another one is refused."""
    run_id: str
    """32 hexadecimal digits; the snapshot is tagged ``run-<run_id>``."""
    created_at: str
    """ISO 8601, UTC."""
    finished_at: str | None = None
    """None while the training goes on, and for ever where it was killed."""
    store_location: str
    """Where the store was, as an absolute path or address."""
    store_uuid: str
    """Which store it was, wherever it lies now."""
    snapshot: int
    """Number of the snapshot that was read."""
    snapshot_sha256: str
    """Digest of that snapshot's file."""
    spec: dict[str, Any]
    """The store's `FeatureSpec`."""
    fingerprint: str
    """Of the spec."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    classes: list[str]
    """In the order of the model's outputs; of two, the logit is that of the second."""
    split_sha256: str
    """Digest of the rows of `split.parquet`."""
    config: dict[str, Any]
    """The `TrainConfig`."""
    best_epoch: int | None = None
    """Epoch that the weights are of, counted from 1."""
    versions: dict[str, str]
    """Of songbag, Keras, TensorFlow, numpy and Python."""

    @property
    def feature_spec(self) -> FeatureSpec:
        """The store's `FeatureSpec`."""
        return FeatureSpec.from_dict(self.spec)

    @property
    def train_config(self) -> TrainConfig:
        """What the training was told."""
        return TrainConfig(**self.config)

    def to_json(self) -> bytes:
        """Return the content of `run.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError
            If a field is unknown, missing, of another type or contradicts another; the message says which.
        """
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        hints = get_type_hints(cls)
        if document.keys() != hints.keys():
            raise ValueError(f"fields unknown or missing: {', '.join(sorted(document.keys() ^ hints.keys()))}")
        for name, hint in hints.items():
            if not isinstance(document[name], _plain_types(hint)) or isinstance(document[name], bool):
                raise ValueError(f"the field {name!r} is of the wrong type")
        facts = cls(**document)
        facts._check()
        return facts

    def _check(self) -> None:
        """Refuse facts that a model cannot be built from."""
        if self.feature_spec.fingerprint != self.fingerprint:
            raise ValueError("the fingerprint is not that of the spec")
        if self.config.keys() != {field.name for field in dataclasses.fields(TrainConfig)}:
            raise ValueError("the field 'config' has unknown or missing entries")
        self.train_config  # noqa: B018 (raises where a value is out of range)
        names = self.classes
        if len(set(map(str, names))) != len(names) or len(names) < 2 or not all(isinstance(n, str) for n in names):
            raise ValueError("the field 'classes' is not a list of two or more different names")


def _plain_types(hint: Any) -> tuple[type, ...]:
    """Return the types a JSON value may have: ``list[str]`` is a list, ``int | None`` either."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(getattr(option, "__origin__", option) for option in options)


class Run:
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

    @classmethod
    def create(cls, folder: Path, facts: RunFacts, split: Split) -> Self:
        """Begin a run in a folder that `claim_folder` made."""
        run = cls(folder, facts)
        split.write(folder / "split.parquet")
        write_whole(folder / "run.json", facts.to_json())
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a finished run.

        Raises
        ------
        RunNotFound
            If there is none, or its training was not finished.
        DamagedRun
            If `run.json` is not what songbag wrote.
        """
        folder = Path(folder)
        path = folder / "run.json"
        try:
            facts = RunFacts.from_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            remedy = "Check the path; `songbag train STORE --label L -o RUN` makes a run."
            raise RunNotFound("there is no run here (no run.json)", where=str(folder), remedy=remedy) from None
        except OSError as error:
            raise RunError(f"cannot be read ({error.strerror})", where=str(path)) from error
        except (ValueError, TypeError, RecursionError) as error:
            reason = getattr(error, "what", None) or str(error).splitlines()[0]
            remedy = "Restore the file from a copy, or use the songbag that wrote it."
            raise DamagedRun(f"is not what songbag wrote ({reason})", where=str(path), remedy=remedy) from error
        if facts.finished_at is None:
            remedy = "Train again into another folder; history.csv shows how far this one came."
            raise RunNotFound("the training of this run was not finished", where=str(folder), remedy=remedy)
        return cls(folder, facts)

    def finish(self, **changes: Any) -> None:
        """Write `run.json` again, with what the training found out."""
        self.facts = dataclasses.replace(self.facts, **changes)
        write_whole(self.folder / "run.json", self.facts.to_json())

    def build_model(self) -> keras.Model:
        """Build the model from `run.json` alone, with fresh weights and bags of any size."""
        config = self.facts.train_config
        return song_model(
            self.facts.feature_spec, len(self.facts.classes), encoder=config.encoder, pooling=config.pooling
        )

    def load_model(self) -> keras.Model:
        """Build the model and load its weights.

        Raises
        ------
        DamagedRun
            If the weights are damaged or those of another model.
        """
        try:
            model = self.build_model()
        except ModelError as error:
            raise DamagedRun(f"describes no model ({error.what})", where=str(self.folder / "run.json")) from error
        load_weights(model, self.folder / "weights.safetensors")
        return model

    def split(self) -> Split:
        """Read the split.

        Raises
        ------
        DamagedRun
            If it is not the one that was trained with.
        """
        path = self.folder / "split.parquet"
        split = Split.read(path)
        if split.digest != self.facts.split_sha256:
            remedy = "Restore the file from a copy, or train again."
            raise DamagedRun("is not the split that this run was trained with", where=str(path), remedy=remedy)
        return split


def claim_folder(folder: Path) -> None:
    """Make the folder of a new run; refuse one that holds anything.

    Raises
    ------
    UsageError
        If it is a file or not empty.
    RunError
        If it cannot be made.
    """
    remedy = "Choose another -o: a run is never written over another one."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("the folder is not empty", where=str(folder), remedy=remedy)
    except (FileExistsError, NotADirectoryError):
        raise UsageError("there is a file in the place of the run folder", where=str(folder), remedy=remedy) from None
    except OSError as error:
        raise RunError(f"the folder cannot be made ({error.strerror})", where=str(folder)) from error
