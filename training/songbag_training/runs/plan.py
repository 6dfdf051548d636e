"""The document of a cross-validation: what is validated, and on what."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Self

from songbag_store.format.document import LATER, Count, Digest, Identifier, require, write_fields
from songbag_store.storage.files import write_whole
from songbag_training.config import TrainConfig
from songbag_training.errors import RunNotFound
from songbag_training.runs.document import CROSS_VALIDATION, FORMAT, parse_run_document, read_run_document
from songbag_training.runs.facts import ParentFacts

_FOLDS = "a list of two or more different names"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of `cross-validation.json`."""

    format: int = FORMAT
    """Number of this layout."""
    store_uuid: Identifier
    """Identity of the store."""
    snapshot: Count
    """Number of the snapshot that is read."""
    label: str
    """Column of the index with the labels."""
    where: str | None
    """SQL expression that chose the songs; None for all."""
    split_sha256: Digest
    """Digest of the folds."""
    folds: list[str]
    """Their names, in the order of the folders."""
    config: TrainConfig
    """The `TrainConfig` of every fold."""
    files: dict[str, Digest] | None = None
    """SHA-256 of every finished file but those of the folds; None if it was begun before there were seals."""
    replaced: dict[str, Digest] = dataclasses.field(default_factory=dict)
    """SHA-256 of files that are being replaced by those of another call."""
    parent: ParentFacts | None = dataclasses.field(default=None, metadata=LATER)
    """The run with whose encoder the training of every fold begins."""

    def __post_init__(self) -> None:
        require(len(self.folds) >= 2 and len(set(self.folds)) == len(self.folds), "folds", self.folds, _FOLDS)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises
        ------
        DamagedRun
            If it is not what songbag wrote.
        NewerRun
            If it is of another format.
        """
        return read_run_document(path, partial(parse_run_document, cls), "Choose another `output`.")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the file of a cross-validation that was begun in a folder; see `read`.

        Raises
        ------
        RunNotFound
            If there is none.
        """
        try:
            return cls.read(folder / CROSS_VALIDATION)
        except (FileNotFoundError, NotADirectoryError):
            what, remedy = f"there is no cross-validation here (no {CROSS_VALIDATION})", "Check the path."
            raise RunNotFound(what, place=str(folder), remedy=remedy) from None

    def write(self, path: Path) -> None:
        """Write the file, in place of an earlier one."""
        write_whole(path, write_fields(self))
