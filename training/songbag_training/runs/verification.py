"""`verify`: compare a store, a run or a cross-validation with what was written.

It needs neither Keras nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from songbag_store.errors import UsageError
from songbag_store.format.document import Digest, Ordinal, Time, read_fields, require
from songbag_store.format.keys import IDENTITY
from songbag_store.progress import Progress, shown_on
from songbag_store.storage.files import is_there, within
from songbag_store.storage.location import Location
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.verify import Damage, not_sealed, unsealed_text, verify as verify_store
from songbag_training.errors import DamagedRun
from songbag_training.runs.document import CROSS_VALIDATION, RUN, SWEEP, parse_known, read_run_document
from songbag_training.runs.seals import digests, file_fault, tensors_fault

if TYPE_CHECKING:
    from songbag_training.runs.run import RunLike

_GROWING = ("weights.safetensors", "checkpoint.safetensors")
_METRICS = "metrics.json"
_RESULTS = (_METRICS, "predictions.parquet", "windows.parquet", "confusion.png")


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify_folder` found.

    Attributes
    ----------
    n_files : int
        Files whose digest was compared, documents included.
    damages : list of Damage
        Files that are not as they were written.
    unsealed : list of str
        Documents that were made before there were seals.
    notes : list of str
        What is not finished.
    """

    n_files: int
    damages: list[Damage]
    unsealed: list[str]
    notes: list[str]

    def in_words(self) -> list[str]:
        """Return what is not sealed, or not yet, a line each."""
        return [unsealed_text(self.unsealed)] * bool(self.unsealed) + [f"note: {note}" for note in self.notes]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Seals:
    """What a document says of the files of its folder; of a run or of a cross-validation."""

    format: Ordinal
    files: dict[str, Digest] | None = None
    replaced: dict[str, Digest] = dataclasses.field(default_factory=dict)
    finished_at: Time | None = None
    folds: list[str] = dataclasses.field(default_factory=list)
    points: list[Any] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        for name in {**(self.files or {}), **self.replaced}:
            path = Path(name)
            inside = path.parts and not path.is_absolute() and ".." not in path.parts
            require(inside, "files", name, "the name of a file in this folder")


def verify(place: StoreLike | RunLike, *, full: bool = False, progress: Progress | None = None) -> list[Damage]:
    """Compare a store, a run or a cross-validation with what was written, and return every difference.

    Of a store, the quick way compares sizes, see `songbag_store.upkeep.verify.verify`. Of a run or a cross-validation
    the digest of every finished file is compared.

    Parameters
    ----------
    place : SongStore, Location, Run, str or pathlib.Path
        The store, at its snapshot; or the folder of a run or a cross-validation.
    full : bool
        Of a store, read every byte, and the files of the other snapshots too.
    progress : Progress, optional
        Where to note what is not sealed; by default standard output.
    """
    folder = sealed_folder(place)
    if folder is None:
        store = SongStore.open(cast(StoreLike, place))
        damages = verify_store(store, full=full)
        lines = [unsealed_text(unsealed)] if (unsealed := not_sealed(store)) else []
    else:
        verdict = verify_folder(folder)
        damages, lines = verdict.damages, verdict.in_words()
    for line in lines:
        (progress or shown_on(sys.stdout)).note(line)
    return damages


def sealed_folder(place: StoreLike | RunLike) -> Path | None:
    """Return the folder of a run, a cross-validation or a sweep; None if a store, or nothing, lies at this place.

    Raises
    ------
    UsageError
        If a snapshot of a run is asked for.
    """
    if isinstance(place, SongStore):
        return None
    own = getattr(place, "folder", None)
    if isinstance(own, Path):
        return own
    location = Location.of(cast(StoreLike, place))
    folder = Path(location.address)
    if location.is_remote or is_there(folder / IDENTITY):
        return None
    if not any(is_there(folder / name) for name in (RUN, CROSS_VALIDATION, SWEEP)):
        return None
    if location.snapshot is not None:
        raise UsageError("a run has no snapshots", place=str(folder), remedy="Leave `snapshot` out.")
    return folder


def verify_folder(folder: Path) -> Verdict:
    """Compare every finished file of a run, a cross-validation or a sweep with its digest.

    Raises
    ------
    NewerRun
        If a newer songbag wrote it.
    RunError
        If a file cannot be read.
    """
    if is_there(folder / SWEEP):
        checked = list(_of_sweep(folder))
    else:
        checked = list(_of_run(folder, "") if is_there(folder / RUN) else _of_cross_validation(folder, ""))
    return Verdict(
        n_files=sum(one is None or isinstance(one, Damage) for one in checked),
        damages=[one for one in checked if isinstance(one, Damage)],
        unsealed=[one.key for one in checked if isinstance(one, _Unsealed)],
        notes=[one for one in checked if isinstance(one, str)],
    )


def remedy(folder: Path, damages: list[Damage]) -> str:
    """Return what to do about damaged files of a run or a cross-validation."""
    written_again = [folder / one.key for one in damages if Path(one.key).name in _RESULTS]
    sentences = ["Restore them from a copy, or train again."] if len(written_again) < len(damages) else []
    for owner in sorted({path.parent for path in written_again}):
        command = (
            f"`songbag evaluate {shlex.quote(str(owner))}`"
            if is_there(owner / RUN)
            else "The same `songbag cross-validate`"
        )
        sentences.append(f"{command} writes metrics and predictions again.")
    return "\n".join(sentences)


@dataclasses.dataclass(frozen=True, slots=True)
class _Unsealed:
    """A document that was made before there were seals."""

    key: str


_Checked = Damage | _Unsealed | str | None
"""A damaged file, a document without a seal, a note, or a file that is whole."""


def _of_run(folder: Path, prefix: str) -> Iterator[_Checked]:
    seals = _read(folder, RUN)
    yield from _of_files(folder, prefix, RUN, seals)
    if isinstance(seals, Damage) or seals.files is None:
        return
    if seals.finished_at is None:
        yield f"{prefix}{RUN}: the training is not finished; its other files are sealed when it is"
    # They carry their own digests.
    for name in _GROWING if seals.finished_at is None else _GROWING[1:]:
        if is_there(folder / name):
            yield _damage(prefix + name, tensors_fault(folder / name, sealed=True))


def _of_cross_validation(folder: Path, prefix: str) -> Iterator[_Checked]:
    seals = _read(folder, CROSS_VALIDATION)
    yield from _of_files(folder, prefix, CROSS_VALIDATION, seals)
    if isinstance(seals, Damage):
        folds = [path.name for path in within(folder, "fold-*") if is_there(path / RUN)]
    else:
        folds = [f"fold-{number}" for number in range(1, len(seals.folds) + 1)]
    for fold in folds:
        if is_there(folder / fold / RUN):
            yield from _of_run(folder / fold, f"{prefix}{fold}/")
        elif not isinstance(seals, Damage) and _METRICS in (seals.files or {}):
            yield Damage(f"{prefix}{fold}/{RUN}", "is missing")
        else:
            yield f"{prefix}{fold}: was not begun; the same command trains it"


def _of_sweep(folder: Path) -> Iterator[_Checked]:
    seals = _read(folder, SWEEP)
    yield from _of_files(folder, "", SWEEP, seals)
    if isinstance(seals, Damage):
        names = [path.name for path in within(folder, "point-*")]
    else:
        names = [f"point-{number}" for number in range(1, len(seals.points) + 1)]
    for name in names:
        if is_there(folder / name / RUN):
            yield from _of_run(folder / name, f"{name}/")
        elif is_there(folder / name / CROSS_VALIDATION):
            yield from _of_cross_validation(folder / name, f"{name}/")
        else:
            yield f"{name}: is not trained; the same command trains it"


def _of_files(folder: Path, prefix: str, document: str, seals: _Seals | Damage) -> Iterator[_Checked]:
    """Check the document and the files that it lists."""
    if isinstance(seals, Damage):
        yield dataclasses.replace(seals, key=prefix + seals.key)
        return
    if seals.files is None:
        yield _Unsealed(prefix + document)
        return
    yield None
    for name in sorted(seals.files):
        yield _damage(prefix + name, file_fault(folder / name, digests(seals, name)))
    if seals.replaced:
        yield f"{prefix}{document}: new results were being put in place; the same command writes them again"


def _damage(key: str, fault: str | None) -> Damage | None:
    return Damage(key, fault) if fault else None


def _read(folder: Path, document: str) -> _Seals | Damage:
    known = {field.name for field in dataclasses.fields(_Seals)}

    def parse(data: bytes) -> _Seals:
        fields: dict[str, Any] = parse_known(data)
        return read_fields(_Seals, {name: value for name, value in fields.items() if name in known})

    try:
        return read_run_document(folder / document, parse, "")
    except FileNotFoundError:
        return Damage(document, "is missing")
    except DamagedRun as error:
        return Damage(document, error.what)
