"""Trainings that begin with the encoder of another run: what is taken over, what stays, what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

import songbag
from songbag_store import SongStore
from songbag_store.errors import SpecMismatch, UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, resume, train
from songbag_training.comparison.listing import drawn, rows_of
from songbag_training.errors import DamagedRun, ModelError, RunNotFound
from songbag_training.fit.cross_validation import cross_validate, resume_cross_validation
from songbag_training.fit.fit import compiled_model
from songbag_training.fit.material import prepare
from songbag_training.fit.train import refuse_contradictions
from songbag_training.runs.checkpoints import NAME
from songbag_training.runs.facts import RunFacts
from songbag_training.runs.overlap import inherit, known_songs
from songbag_training.runs.plan import SweepPlan
from songbag_training.runs.run import Run
from songbag_training.runs.summary import describe, info
from songbag_training.runs.verification import verify_folder
from songbag_training.splits.split import Split
from songbag_training.sweeps.sweep import sweep
from tests.support.documents import edit_document
from tests.support.epochs import Epochs
from tests.support.labelled import SPEC, songs_of_classes, write_store
from tests.support.long import LONG

ENCODER = "tests.support.nets:with_state"
CONFIG = TrainConfig(epochs=2, bag_size=2, batch_size=8, learning_rate=0.01, encoder=ENCODER, no_floor=True)
FROZEN = dataclasses.replace(CONFIG, freeze="encoder", pooling="attention")
Tensors = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, store: SongStore) -> Run:
    """A run that knows folk and jazz."""
    config, folder = dataclasses.replace(CONFIG, epochs=1, seed=1), tmp_path_factory.mktemp("parent") / "run"
    return train(store, "label", folder, config, where="label <> 'rock'", progress=Silent())


class _AtOnce(Epochs):
    """Ends a training before its first epoch."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, line: str) -> None:
        self.said.append(line)

    def begun(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory, store: SongStore, parent: Run) -> tuple[Run, list[str]]:
    """A run that tells three classes apart, by another pooling, with the encoder of the parent as it is.

    It was stopped before its first epoch, and went on when the parent was gone.
    """
    folder, moved, stopping = tmp_path_factory.mktemp("child") / "run", parent.folder.with_name("moved"), _AtOnce()
    with pytest.raises(KeyboardInterrupt):
        train(store, "label", folder, FROZEN, from_run=parent, progress=stopping)
    parent.folder.rename(moved)
    run = Run.open_unfinished(folder)
    refuse_contradictions(run, {"from_run": str(parent.folder), "freeze": "encoder"})
    with pytest.raises(UsageError, match="from_run"):
        refuse_contradictions(run, {"from_run": "another"})
    finished = resume(folder, encoder=ENCODER, progress=Lines(stopping.said.append))
    moved.rename(parent.folder)
    return finished, stopping.said


def tensors(run: Run, name: str = "weights.safetensors") -> Tensors:
    return load_file(run.folder / name)


def of_encoder(found: Tensors) -> dict[str, bytes]:
    """Return the weights of the encoder and of the scaling, as bytes."""
    return {name: own.tobytes() for name, own in found.items() if name.startswith(("encoder/", "scaling/"))}


def test_a_frozen_encoder_keeps_every_byte_and_the_head_learns(child: tuple[Run, list[str]], parent: Run) -> None:
    run, said = child
    assert of_encoder(tensors(run)) == of_encoder(tensors(parent))
    assert {"encoder/004/moving_mean", "scaling/std"} <= of_encoder(tensors(run)).keys()
    head = tensors(run)["head/kernel"]
    assert head.shape == (6, 3)
    assert not np.array_equal(head, load_file(run.folder / NAME)["weight/head/kernel"]) or run.facts.best_epoch == 2
    assert f"starting from {parent.folder}: its encoder stays as it is; head and pooling are new" in said


def test_the_parent_is_recorded_and_told(child: tuple[Run, list[str]], parent: Run) -> None:
    facts = child[0].facts
    assert facts.parent is not None
    assert facts.parent["run_id"] == parent.facts.run_id
    assert facts.parent["weights_sha256"] == (parent.facts.files or {})["weights.safetensors"]
    assert facts.parent["folder"] == str(parent.folder)
    told = dict(describe(info(child[0].folder)))
    assert told["started from"] == f"{parent.folder} (run {parent.facts.run_id[:8]})"
    assert f"--from {parent.folder}" in told["again"]
    assert "--freeze encoder" in told["again"]
    assert "parent" not in json.loads((parent.folder / "run.json").read_text())
    assert not verify_folder(child[0].folder).damages


@pytest.mark.fault(131)
def test_test_songs_that_the_parent_has_learned_from_are_told(child: tuple[Run, list[str]], parent: Run) -> None:
    run, said = child
    learned = {song for song, part in _parts(parent) if part != "test"}
    known = sorted(learned & {song for song, part in _parts(run) if part == "test"})
    assert known
    (one,) = run.metrics["test"]["suspected_leaks"]
    assert one["song_ids"] == known
    assert one["what"] == f"are known from the run that it was started from ({len(known)} trained on or validated by)"
    assert one["without"]["n"] == 6 - len(known)
    assert any(line.startswith(f"suspected leak: {len(known)} of 6 songs are known from the run") for line in said)


def test_songs_of_the_parents_parent_are_known_too(child: tuple[Run, list[str]], parent: Run, store: SongStore) -> None:
    parts = [(song, part) for run in (parent, child[0]) for song, part in _parts(run)]
    learned = {song for song, part in parts if part != "test"}
    songs = tuple(sorted({song for song, _ in parts}))
    found = known_songs(child[0], store, Split(songs, ("",) * len(songs), ("all",) * len(songs)), Silent())
    ((what, rows),) = found.items()
    assert {songs[row] for row in rows} == learned
    assert what == f"are known from training ({len(learned)} trained on or validated by)"
    assert {song for song, part in _parts(child[0]) if part != "test"} < learned


def _parts(run: Run) -> list[tuple[str, str]]:
    split = run.split()
    return list(zip(split.song_ids, split.subsets, strict=True))


def test_recordings_of_another_store_are_compared(parent: Run, tmp_path: Path) -> None:
    songs = songs_of_classes({"folk": 12, "jazz": 12})
    for song in songs:
        song["song_id"] = "new/" + song["song_id"]
    other = write_store(tmp_path / "other", songs)
    ids = tuple(song["song_id"] for song in songs)
    said: list[str] = []
    inherit(parent, other, Split(ids, ("",) * 24, ("test",) * 24), tmp_path, Lines(said.append))
    assert said == ["note: the songs were compared with those of the training by bytes and audio, not by likeness"]
    rows = pq.read_table(tmp_path / "inherited.parquet").to_pylist()
    copies = {row["song_id"] for row in rows if (row["store_uuid"], row["how"]) == (other.uuid, "copy")}
    assert copies == {f"new/{song}" for song, part in _parts(parent) if part != "test"}
    shutil.copytree(parent.folder, tmp_path / "run")
    edit_document(tmp_path / "run" / "run.json", store_location=str(tmp_path / "gone"))
    inherit(Run.open(tmp_path / "run"), other, Split(ids, ("",) * 24, ("test",) * 24), tmp_path, Lines(said.append))
    assert "was not checked: the store of the training cannot be opened" in said[-1]


def test_without_freezing_the_encoder_begins_there_and_learns(parent: Run, store: SongStore) -> None:
    material = prepare(store, "label", None, None, config=CONFIG, from_run=parent)
    model = compiled_model(material)
    assert material.scaling is None
    assert of_encoder({one.path: one.numpy() for one in model.weights}) == of_encoder(tensors(parent))
    assert {one.path for one in model.trainable_variables} > {"encoder/000/kernel", "encoder/002/gamma"}


def test_batch_normalisation_does_not_change_when_it_is_frozen(run: Run, store: SongStore) -> None:
    config = TrainConfig(freeze="encoder", bag_size=2)
    material = prepare(store, "label", "label <> 'rock'", None, config=config, from_run=run)
    assert material.config.encoder == "spectral"
    model = compiled_model(material)
    rng = np.random.default_rng(0)
    windows = rng.integers(-300, 300, (4, 2, *SPEC.window_shape)).astype(np.int16)
    before = {one.path: one.numpy() for one in model.weights}
    model.train_on_batch({"windows": windows, "mask": np.ones((4, 2), np.float32)}, np.array([0, 1, 0, 1], np.int32))
    changed = {one.path for one in model.weights if not np.array_equal(before[one.path], one.numpy())}
    assert changed == {"head/kernel", "head/bias"}
    own = {name: found for name, found in tensors(run).items() if not name.startswith(("head/", "pooling/"))}
    assert all(np.array_equal(before[name], found) for name, found in own.items())


@pytest.mark.fault(132)
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"encoder": "reference"}, UsageError, "encoder: is 'reference', but the run to start from has the encoder"),
        ({"encoder": "auto"}, UsageError, "code from outside songbag, which is not run unasked"),
    ],
)
def test_another_encoder_is_refused_by_name(
    parent: Run, store: SongStore, tmp_path: Path, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        train(store, "label", tmp_path / "run", TrainConfig(**options), from_run=parent, progress=Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(132)
def test_what_is_no_run_to_start_from_is_refused(parent: Run, store: SongStore, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no run\.json"):
        prepare(store, "label", None, None, config=CONFIG, from_run=tmp_path)
    with pytest.raises(UsageError, match="freeze: is 'encoder', but there is no run that it comes from"):
        prepare(store, "label", None, None, config=dataclasses.replace(CONFIG, freeze="encoder"))
    with pytest.raises(ModelError, match="freeze: is 'head' but must be encoder"):
        TrainConfig(freeze="head")
    other = write_store(
        tmp_path / "other", songs_of_classes({"folk": 4, "jazz": 4}), spec=dataclasses.replace(SPEC, n_mels=24)
    )
    with pytest.raises(SpecMismatch, match="n_mels"):
        prepare(other, "label", None, None, config=CONFIG, from_run=parent)
    shutil.copytree(parent.folder, tmp_path / "run")
    data = (tmp_path / "run" / "weights.safetensors").read_bytes()
    (tmp_path / "run" / "weights.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedRun, match="its digest is another"):
        prepare(store, "label", None, None, config=CONFIG, from_run=tmp_path / "run")
    edit_document(tmp_path / "run" / "run.json", finished_at=None)
    with pytest.raises(RunNotFound, match="was not finished"):
        prepare(store, "label", None, None, config=CONFIG, from_run=tmp_path / "run")
    facts = RunFacts.read(parent.folder)
    with pytest.raises(ValueError, match="the field 'parent' is None"):
        dataclasses.replace(facts, config=dataclasses.replace(facts.config, freeze="encoder"))


def test_an_encoder_of_ones_own_that_has_changed_since_is_refused(
    parent: Run, store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wider(n_bands: int, n_frames: int, n_channels: int) -> keras.Model:
        shape = (n_bands, n_frames, n_channels)
        return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(7)])

    monkeypatch.setattr("songbag_training.models.plugins.load_encoder", lambda name: wider)
    material = prepare(store, "label", None, None, config=CONFIG, from_run=parent)
    with pytest.raises(ModelError, match=r"its weight 'encoder/000/kernel' is \(160, 6\) in the run"):
        compiled_model(material)


def test_a_training_whose_beginning_is_lost_is_not_begun_again(child: tuple[Run, list[str]], tmp_path: Path) -> None:
    shutil.copytree(child[0].folder, tmp_path / "run")
    edit_document(tmp_path / "run" / "run.json", finished_at=None)
    (tmp_path / "run" / NAME).unlink()
    with pytest.raises(DamagedRun, match="is missing"):
        resume(tmp_path / "run", encoder=ENCODER, progress=Silent())


class _Listing(Silent):
    """Notes what `runs` says of the points while they are trained."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.seen: set[tuple[str, str]] = set()

    def advance(self, done: float, state: str, line: str | None = None) -> None:
        found = rows_of(self._folder, every=False) if self._folder.exists() else []
        table = drawn(found, every=False).to_pylist()
        self.seen |= {(row["name"], row["state"]) for row in table}


@pytest.mark.fault(131, 132)
def test_every_point_of_a_sweep_starts_from_the_run_and_is_listed_with_its_epoch(
    parent: Run, store: SongStore, tmp_path: Path
) -> None:
    folder, search = tmp_path / "sweep", {"freeze": ["none", "encoder"]}
    config, told = dataclasses.replace(CONFIG, freeze=None), _Listing(folder)
    done = sweep(store, "label", folder, search, config, from_run=parent, progress=told)
    points = [Run.open(folder / f"point-{number}") for number in (1, 2)]
    assert [run.facts.parent and run.facts.parent["run_id"] for run in points] == [parent.facts.run_id] * 2
    assert [of_encoder(tensors(run)) == of_encoder(tensors(parent)) for run in points] == [False, True]
    assert SweepPlan.read(folder / "sweep.json").parent == points[0].facts.parent
    assert {("point-1", "running"), ("point-1", "running at epoch 2 of 2")} <= told.seen
    assert {("point-2", "waiting"), ("point-2", "running at epoch 2 of 2"), ("point-1", "finished")} <= told.seen
    assert Run.open(done.winner).metrics["test"]["suspected_leaks"]
    moved = Path(shutil.copytree(parent.folder, tmp_path / "moved"))
    assert sweep(store, "label", folder, search, config, from_run=moved, progress=Silent()) == done
    with pytest.raises(UsageError, match=r"another sweep \(it differs in from_run, set\)"):
        sweep(store, "label", folder, {"freeze": ["none"]}, config, progress=Silent())
    with pytest.raises(UsageError, match="freeze: is 'encoder', but there is no run that it comes from"):
        sweep(store, "label", tmp_path / "other", search, config, progress=Silent())
    varied = {"encoder": [ENCODER, "reference"]}
    with pytest.raises(UsageError, match="encoder: is 'reference', but the run to start from"):
        sweep(store, "label", tmp_path / "other", varied, config, from_run=parent, progress=Silent())
    assert not (tmp_path / "other").exists()


def test_runs_are_not_compared_by_songs_that_a_run_before_them_learned(
    child: tuple[Run, list[str]], parent: Run
) -> None:
    known = {song for song, part in _parts(parent) if part != "test"}
    tested = {song for song, part in _parts(child[0]) if part == "test"}
    found = songbag.compare(child[0], child[0])
    assert set(found.table("metrics", arrow=True)["songs"].to_pylist()) == {len(tested - known)}
    n = len(tested & known)
    assert n
    of = "song that both tested is" if n == 1 else "songs that both tested are"
    notes = [note for note in found.notes if "started from" in note]
    assert notes
    assert all(note.startswith(f"{n} {of} left out: a run that ") for note in notes)


@pytest.mark.skipif(not LONG, reason="make test-long")
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    child: tuple[Run, list[str]], parent: Run, store: SongStore, tmp_path: Path
) -> None:
    whole = train(store, "label", tmp_path / "whole", FROZEN, from_run=parent, progress=Silent())
    assert child[0].weights_path.read_bytes() == whole.weights_path.read_bytes()
    assert child[0].metrics == whole.metrics


@pytest.mark.skipif(not LONG, reason="make test-long")
def test_a_cross_validation_starts_every_fold_from_the_run(parent: Run, store: SongStore, tmp_path: Path) -> None:
    config, folder = dataclasses.replace(CONFIG, epochs=1, freeze="encoder"), tmp_path / "cv"
    moved = tmp_path / "parent"
    shutil.copytree(parent.folder, moved)
    done = cross_validate(store, "label", folder, config, folds=2, from_run=moved, progress=Silent())
    for run in done.runs:
        assert of_encoder(tensors(run)) == of_encoder(tensors(parent))
        assert not (run.folder / NAME).exists()
    split = parent.split()
    learned = sum(subset != "test" for subset in split.subsets)
    assert [one["n"] for one in done.metrics["suspected_leaks"]] == [learned]
    shutil.rmtree(moved)
    shutil.rmtree(folder / "fold-2")
    with pytest.raises(UsageError, match="the run that this was started from is not there as it was"):
        resume_cross_validation(folder, store, encoder=ENCODER, progress=Silent())
    shutil.copytree(parent.folder, moved)
    again = resume_cross_validation(folder, store, encoder=ENCODER, progress=Silent())
    assert again.metrics == done.metrics
