"""One changed bit, or a cut, of any file of a run: noticed by what reads the file, or by `verify`."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, evaluate, predict, resume, train
from songbag_training.apply.export import export
from songbag_training.cli import commands
from songbag_training.errors import DamagedRun
from songbag_training.runs.checkpoints import NAME, read_reached
from songbag_training.runs.run import Run
from songbag_training.runs.verification import verify_folder
from songbag_training.splits.split import Split
from tests.support.command import songbag as command
from tests.support.damages import damaged, seeded
from tests.support.documents import edit_document
from tests.support.epochs import Epochs
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
OLD = ROOT / "tests" / "fixtures" / "training-format-1"
N_ROUNDS = 60 if LONG else 2


class _Killed(BaseException):
    """Ends a training as suddenly as a signal would, as far as files are concerned."""


class Stopping(Epochs):
    """Ends a training in its second epoch, after its first checkpoint there."""

    def reached(self, done: float) -> None:
        if done > 1:
            raise _Killed


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """Return a copy of a finished run, with event files."""
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events.out.tfevents.1.songbag").write_bytes(bytes(range(256)))
    Run.open(folder).finish()
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, store: SongStore) -> Path:
    """Return a run that was interrupted in its second epoch: with a checkpoint, and weights of the first."""
    config = TrainConfig(epochs=2, bag_size=2, batch_size=8, encoder="dense", no_floor=True)
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(_Killed):
        train(store, "label", folder, config=config, checkpoint_s=0, progress=Stopping())
    return folder


def _names(folder: Path) -> list[str]:
    """Return the files of a run but its page, which `songbag report` writes again at any time, and its checkpoint.

    That one may be deleted, and carries its own digest.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name not in ("report.html", NAME))


def _refusal(what: str, read: Callable[..., object], *arguments: Any) -> DamagedRun:
    """Return the error that reading a damaged file ends in."""
    try:
        read(*arguments)
    except DamagedRun as error:
        return error
    pytest.fail(f"nothing noticed {what}")


def test_run_json_has_the_digest_of_every_other_file(copy: Path) -> None:
    files = Run.open(copy).facts.files
    assert files is not None
    assert sorted(files) == [name for name in _names(copy) if name != "run.json"]
    listed = "".join(f"{digest}  {copy / name}\n" for name, digest in files.items())
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet"], input=listed, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.long
@pytest.mark.fault(101)
def test_verify_notices_a_bit_or_a_cut_of_any_file_of_a_run(copy: Path) -> None:
    chance = seeded()
    assert songbag.verify(copy, progress=Silent()) == []
    for name in _names(copy):
        for what in damaged(copy / name, chance):
            assert [one.key for one in verify_folder(copy).damages] == [name], what
        (copy / name).rename(copy / "kept")
        if name != "run.json":
            assert [(one.key, one.what) for one in verify_folder(copy).damages] == [(name, "is missing")]
        (copy / "kept").rename(copy / name)
    for what in damaged(copy / NAME, chance):
        assert [one.key for one in verify_folder(copy).damages] == [NAME], what
    (copy / NAME).unlink()
    assert verify_folder(copy).damages == []


READERS: dict[str, Callable[[Path], object]] = {
    "run.json": Run.open,
    "weights.safetensors": lambda folder: Run.open(folder).load_model(),
    "split.parquet": lambda folder: Run.open(folder).split(),
    "metrics.json": lambda folder: Run.open(folder).metrics,
    "predictions.parquet": lambda folder: Run.open(folder).predictions(arrow=True),
}


@pytest.mark.long
@pytest.mark.fault(101)
@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_file_of_a_run_notices_a_bit_or_a_cut(copy: Path, name: str) -> None:
    # Building a model takes long.
    n_bits, n_cuts = ((60, 20) if LONG else (2, 1)) if name == "weights.safetensors" else (None, None)
    for what in damaged(copy / name, seeded(), n_bits, n_cuts):
        error = _refusal(what, READERS[name], copy)
        assert error.place == str(copy / name), what


def test_no_bit_of_the_weights_gives_another_prediction_or_export(copy: Path, store: SongStore, tmp_path: Path) -> None:
    for what in damaged(copy / "weights.safetensors", random.Random(1), 1, 0):
        for error in (
            _refusal(what, predict, copy, store, tmp_path / "out.csv"),
            _refusal(what, evaluate, copy, store),
            _refusal(what, export, copy, "keras", tmp_path / "model.keras"),
        ):
            assert str(error).startswith(f"{copy / 'weights.safetensors'}: is not what was written")
    assert not list(tmp_path.glob("out.csv")) + list(tmp_path.glob("model.keras*"))


@pytest.mark.long
@pytest.mark.fault(101)
def test_verify_notices_a_bit_or_a_cut_of_an_interrupted_training(stopped: Path, tmp_path: Path) -> None:
    copy, chance = Path(shutil.copytree(stopped, tmp_path / "run")), seeded()
    names = {*_names(copy), NAME}
    assert (copy / NAME).exists()
    assert "weights.safetensors" in names
    assert verify_folder(copy).damages == []
    assert verify_folder(copy).notes == [
        "run.json: the training is not finished; its other files are sealed when it is"
    ]
    # The history is written again from the checkpoint, and who trained last decides nothing.
    for name in names - {"history.csv", "attempt.json"}:
        for what in damaged(copy / name, chance):
            assert [one.key for one in verify_folder(copy).damages] == [name], what


@pytest.mark.long
@pytest.mark.fault(101)
def test_a_checkpoint_with_a_changed_bit_is_refused_and_says_what_to_do(stopped: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stopped, tmp_path / "run"))
    for what in damaged(copy / NAME, seeded()):
        error = _refusal(what, partial(read_reached, sealed=True), copy / NAME)
        assert error.remedy == "Delete it to train the run from its beginning when it is resumed."
    for _ in damaged(copy / NAME, random.Random(2), 1, 0):
        with pytest.raises(DamagedRun, match=r"checkpoint\.safetensors: is not what was written.*\n  Delete it"):
            resume(copy, progress=Silent())


@pytest.mark.fault(101)
def test_the_best_weights_of_an_interrupted_training_are_checked_before_it_goes_on(
    stopped: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(stopped, tmp_path / "run"))
    lines: list[str] = []
    for _ in damaged(copy / "weights.safetensors", random.Random(3), 1, 0):
        with pytest.raises(DamagedRun, match=rf"weights\.safetensors: is not what .*\n  Restore .* delete {NAME} to"):
            resume(copy, progress=Lines(lines.append))
    assert not [line for line in lines if line.startswith("epoch")]
    finished = resume(copy, progress=Silent())
    assert sorted({"run.json", *(finished.facts.files or ())}) == _names(copy)


@pytest.mark.long
@pytest.mark.fault(101)
def test_a_saved_split_with_a_changed_bit_is_refused(run: Run, tmp_path: Path) -> None:
    split = dataclasses.replace(run.split(), group=("artist",))
    path = tmp_path / "split.parquet"
    split.write(path)
    assert Split.read(path) == split
    for what in damaged(path, seeded(), 300):
        assert "is not a split" in str(_refusal(what, Split.read, path))


def test_results_that_another_process_has_written_again_are_read(copy: Path) -> None:
    opened = Run.open(copy)
    with Run.open(copy).replacing_results() as staged:
        (staged / "metrics.json").write_text('{"test": 1}')
    assert opened.metrics == {"test": 1}
    assert verify_folder(copy).damages == []


WRITER = """
import dataclasses, sys, time
from functools import partial
from pathlib import Path
from songbag_store.format.document import write_fields
from songbag_store.storage.files import write_whole
from songbag_training.runs.document import parse_run_document, read_run_document
from songbag_training.runs.seals import replacing_results

@dataclasses.dataclass(frozen=True)
class Document:
    format: int
    files: dict[str, str] | None
    replaced: dict[str, str]
    finished_at: str

folder = Path(sys.argv[1])
path, read = folder / "run.json", partial(parse_run_document, Document)
if not path.exists():
    write_whole(path, write_fields(Document(1, {}, {}, "2026-01-01T00:00:00+00:00")))
for number in range(int(sys.argv[2])):
    with replacing_results(
        folder, lambda: read_run_document(path, read, ""), lambda made: write_whole(path, write_fields(made))
    ) as staged:
        for name in ("metrics.json", "predictions.parquet", "windows.parquet"):
            write_whole(staged / name, f"{sys.argv[3]} {number}".encode())
    print(number, flush=True)
"""


def _writer(folder: Path, number: int, name: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(folder), str(number), name]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.long
@pytest.mark.fault(101)
def test_results_whose_writer_is_killed_are_old_or_new_and_sealed(tmp_path: Path) -> None:
    chance = seeded()
    for number in range(N_ROUNDS):
        writer = _writer(tmp_path, 10**6, f"writer {number}")
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        writer.kill()
        writer.communicate(timeout=PATIENCE_S)
        verdict = verify_folder(tmp_path)
        assert (verdict.n_files, verdict.damages) == (4, [])
        for note in verdict.notes:
            assert "new results were being put in place" in note


def test_processes_that_write_results_at_once_leave_those_of_one(tmp_path: Path) -> None:
    writers = [_writer(tmp_path, 1, "first")]
    writers[0].communicate(timeout=PATIENCE_S)
    writers = [_writer(tmp_path, 300 if LONG else 15, name) for name in ("one", "other")]
    for writer in writers:
        writer.communicate(timeout=PATIENCE_S)
        assert writer.returncode == 0
    verdict = verify_folder(tmp_path)
    assert (verdict.n_files, verdict.damages, verdict.notes) == (4, [], [])
    names = ("metrics.json", "predictions.parquet", "windows.parquet")
    assert len({(tmp_path / name).read_bytes() for name in names}) == 1


def test_an_interrupted_replacement_is_told_and_evaluating_again_ends_it(copy: Path, store: SongStore) -> None:
    run = Run.open(copy)
    files = dict(run.facts.files or {})
    old = {name: files[name] for name in ("metrics.json", "windows.parquet")}
    edit_document(copy / "run.json", files=files | dict.fromkeys(old, "0" * 64), replaced=old)
    verdict = verify_folder(copy)
    assert (verdict.damages, verdict.notes) == (
        [],
        ["run.json: new results were being put in place; the same command writes them again"],
    )
    assert Run.open(copy).metrics == run.metrics
    evaluate(copy, store)
    verdict = verify_folder(copy)
    assert (verdict.damages, verdict.notes) == ([], [])


def _command(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(commands, ["verify", str(folder)], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_command_names_what_is_damaged_and_says_what_to_do(copy: Path) -> None:
    assert _command(copy) == (0, f"{copy} is whole: 10 files, every byte checked.\n")
    for _ in damaged(copy / "windows.parquet", random.Random(4), 1, 0):
        code, said = _command(copy)
        assert (code, said.splitlines()) == (
            1,
            [
                "windows.parquet: is not what was written: its digest is another",
                f"1 file damaged. `songbag evaluate {copy}` writes metrics and predictions again.",
            ],
        )
    for _ in damaged(copy / "run.json", random.Random(5), 0, 1):
        code, said = _command(copy)
        assert code == 1
        assert said.startswith("run.json: is not what songbag wrote (")
        assert "Restore them from a copy" in said


def test_the_command_says_that_what_was_made_before_seals_is_not_sealed() -> None:
    for name in ("run", "cross-validation", "interrupted"):
        done = command("verify", OLD / name) if name == "run" else None
        code, said = (done.returncode, done.stdout + done.stderr) if done else _command(OLD / name)
        assert code == 0
        assert said.startswith("not sealed: ")
        assert "Made before there were seals: a changed bit may not show." in said
        assert "is whole" not in said


def test_a_run_made_before_seals_stays_as_it_is_when_it_is_judged_again(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLD / "run", tmp_path / "run"))
    with Run.open(folder).replacing_results() as staged:
        (staged / "metrics.json").write_text('{"test": 1}')
    assert Run.open(folder).metrics == {"test": 1}
    assert (folder / "run.json").read_bytes() == (OLD / "run" / "run.json").read_bytes()
    assert verify_folder(folder).unsealed == ["run.json"]


def test_verifying_a_run_needs_no_tensorflow(copy: Path) -> None:
    code = "import sys, songbag; print(songbag.verify(sys.argv[1])); print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, check=True)
    damages, loaded = done.stdout.splitlines()
    assert damages == "[]"
    assert not {"tensorflow", "keras", "safetensors", "sklearn", "matplotlib"} & set(loaded.split())


@pytest.mark.parametrize("name", ["../split.parquet", "/etc/passwd", ""])
def test_a_file_outside_the_folder_is_not_looked_at(copy: Path, name: str) -> None:
    edit_document(copy / "run.json", files={name: "0" * 64})
    (damage,) = verify_folder(copy).damages
    assert damage.key == "run.json"
    assert "and not the name of a file in this folder" in damage.what


def test_a_snapshot_of_a_run_is_refused(copy: Path) -> None:
    with pytest.raises(UsageError, match="a run has no snapshots"):
        songbag.verify(songbag.Location(str(copy), snapshot=3))


def test_verify_in_python_takes_stores_runs_and_folders(copy: Path) -> None:
    lines: list[str] = []
    store = OLD.parent / "store-format-1"
    for place in (SongStore.open(store), store, copy, str(copy), Run.open(copy), OLD / "run"):
        assert songbag.verify(place, progress=Lines(lines.append)) == []
    assert [line for line in lines if "not sealed" in line] != []
    os.truncate(copy / "history.csv", 3)
    assert [one.key for one in songbag.verify(Run.open(copy))] == ["history.csv"]
