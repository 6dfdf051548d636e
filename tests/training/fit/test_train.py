from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.errors import DamagedStore, StoreError, UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig, train
from songbag_training.errors import LabelError, ModelError, NonFiniteLoss
from songbag_training.fit.fit import compiled_model
from songbag_training.fit.material import prepare
from songbag_training.models.poolings import GatedAttentionPooling
from songbag_training.runs.run import Run
from songbag_training.splits.division import split
from tests.support.watched import WatchedPlace

FILES = (
    "checkpoint.safetensors confusion.png history.csv metrics.json predictions.parquet report.html run.json "
    "split.parquet weights.safetensors windows.parquet"
)


@pytest.fixture
def tiny() -> TrainConfig:
    return TrainConfig(epochs=2, bag_size=3, batch_size=16, encoder="tests.support.nets:flat", no_floor=True)


def test_a_run_folder_is_complete(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == FILES.split()


def test_classes_that_can_be_heard_are_learned(run: Run) -> None:
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["test"]["song"]["accuracy"] >= 0.8
    assert metrics["train"]["song"]["accuracy"] >= 0.8
    assert [metrics[subset]["song"]["n"] for subset in ("train", "validation", "test")] == [24, 6, 6]


def test_a_bag_has_no_more_slots_than_the_longest_song_has_windows(store: SongStore) -> None:
    config = TrainConfig(bag_size=500)
    material = prepare(store, "label", None, None, config=config)
    model = compiled_model(material)
    longest = max(material.labels.songs.take(material.split.rows_of("train"))["n_windows"].to_pylist())
    assert model.input["mask"].shape == (None, longest)


def test_batches_that_no_machine_holds_are_refused_before_there_is_a_folder(store: SongStore, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"batch_size 8 with bag_size 1000000000 makes batches of [0-9,]+ bytes"):
        train(store, "label", tmp_path / "run", config=TrainConfig(bag_size=10**9), progress=Silent())
    assert not (tmp_path / "run").exists()


def test_the_run_says_what_it_was_made_from(run: Run, store: SongStore, quick: TrainConfig) -> None:
    facts = run.facts
    assert (facts.store_uuid, facts.snapshot, facts.snapshot_sha256) == (store.uuid, 1, store.inside.state.sha256)
    named = dataclasses.replace(quick, encoder="spectral").settled(store.spec, 20)
    assert (facts.classes, facts.label, facts.config) == (["folk", "jazz", "rock"], "label", named)
    assert facts.spec == store.spec
    assert set(facts.versions) == {"songbag", "keras", "tensorflow", "numpy", "python"}


@pytest.mark.fault(100)
@pytest.mark.parametrize("folder", ["index", "tags"])
def test_a_store_that_cannot_be_listed_is_not_trained_on(store: SongStore, tmp_path: Path, folder: str) -> None:
    def refuse(operation: str, key: str) -> None:
        if (operation, key) == ("entries", folder):
            raise StoreError("cannot be listed", place=key)

    with pytest.raises(StoreError, match="cannot be listed"):
        train(WatchedPlace(store.address, before=refuse), "label", tmp_path / "run", progress=Silent())


def test_the_snapshot_is_pinned(run: Run, store: SongStore) -> None:
    tag = json.loads(store.inside.storage.get(f"tags/run-{run.facts.run_id}.json"))
    assert (tag["snapshot"], tag["run"]) == (1, str(run.folder))


def test_every_epoch_is_in_the_history_and_the_best_one_was_kept(run: Run, quick: TrainConfig) -> None:
    history = pd.read_csv(run.folder / "history.csv")
    assert history["epoch"].tolist() == list(range(1, quick.epochs + 1))
    assert run.facts.best_epoch == history["epoch"][history["val_loss"].argmin()]
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["validation"]["song"]["log_loss"] == pytest.approx(history["val_loss"].min(), abs=1e-6)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, run: Run, store: SongStore, quick: TrainConfig) -> None:
    again = train(store, "label", tmp_path / "again", config=quick, progress=Silent())
    assert (again.folder / "weights.safetensors").read_bytes() == (run.folder / "weights.safetensors").read_bytes()


def test_another_seed_gives_other_weights_and_another_split(
    tmp_path: Path, run: Run, store: SongStore, tiny: TrainConfig
) -> None:
    other = train(store, "label", tmp_path / "other", config=dataclasses.replace(tiny, seed=5), progress=Silent())
    assert other.facts.split_sha256 != run.facts.split_sha256


def test_the_loss_weighs_classes_by_the_training_songs_and_smooths_labels(store: SongStore, tiny: TrainConfig) -> None:
    config = dataclasses.replace(tiny, class_weight="balanced", label_smoothing=0.2, pooling="gated-attention")
    material = prepare(store, "label", "label <> 'rock' or song_id < 'rock/05'", None, config=config)
    labels, split = material.labels, material.split
    model = compiled_model(material)
    counts = [sum(split.labels[row] == name for row in split.rows_of("train")) for name in labels.classes]
    np.testing.assert_allclose(model.loss.class_weights, sum(counts) / (3 * np.array(counts)), rtol=1e-6)
    assert model.loss.label_smoothing == 0.2
    assert type(model.get_layer("pooling")) is GatedAttentionPooling


def test_two_classes_chosen_by_sql_are_learned_by_the_reference(
    tmp_path: Path, store: SongStore, tiny: TrainConfig
) -> None:
    lines: list[str] = []
    config = dataclasses.replace(tiny, encoder="reference", early_stopping=1)
    where = "label in ('folk', 'rock')"
    run = train(store, "label", tmp_path / "run", where=where, config=config, progress=Lines(lines.append))
    assert run.facts.classes == ["folk", "rock"]
    assert lines[0] == "24 songs of 2 classes: 16 train, 4 validation, 4 test"
    few, hint, said = lines[-3:]
    assert few.startswith("note: fewer than 5 songs of 'folk' (2), 'rock' (2) are tested: ")
    assert hint == "note: 4 songs are tested: `songbag cross-validate` tests all 24, which says more"
    song, (low, high) = run.metrics["test"]["song"], run.metrics["test"]["intervals"]["accuracy"]
    shown = f"held-out accuracy {song['accuracy']:.2f} ({low:.2f} to {high:.2f})"
    assert said.startswith(f"{shown}, balanced accuracy {song['balanced_accuracy']:.2f} (no interval) over 4 songs ")
    assert "held-out balanced accuracy" in repr(run)
    predictions = pd.read_parquet(run.folder / "predictions.parquet")
    np.testing.assert_allclose(predictions["p_folk"] + predictions["p_rock"], 1)


def test_early_stopping_ends_the_training(tmp_path: Path, store: SongStore, tiny: TrainConfig) -> None:
    # With a step of nothing the validation loss cannot fall after the first epoch but by noise of normalisation.
    config = dataclasses.replace(tiny, epochs=50, learning_rate=1e-12, early_stopping=2)
    run = train(store, "label", tmp_path / "run", config=config, progress=Silent())
    history = pd.read_csv(run.folder / "history.csv")
    assert run.facts.best_epoch is not None
    assert len(history) == run.facts.best_epoch + 2 < 50


def test_a_store_that_cannot_be_written_is_trained_on_with_a_note(
    tmp_path: Path, store: SongStore, tiny: TrainConfig
) -> None:
    def refuse(operation: str, key: str) -> None:
        if operation == "create":
            raise StoreError("cannot be written (Read-only file system)")

    lines: list[str] = []
    train(
        WatchedPlace(store.address, before=refuse), "label", tmp_path / "run", config=tiny, progress=Lines(lines.append)
    )
    assert any("could not be pinned" in line for line in lines)


def test_songs_without_label_and_copies_are_reported(
    tmp_path: Path, make_store: Any, songs_of_classes: Any, tiny: TrainConfig
) -> None:
    songs = songs_of_classes({"a": 4, "b": 4})
    songs[0]["content_sha256"] = songs[1]["content_sha256"] = "same"
    songs += [dict(songs[2], song_id="unknown", label=None)]
    lines: list[str] = []
    train(make_store(tmp_path / "store", songs), "label", tmp_path / "run", config=tiny, progress=Lines(lines.append))
    assert "1 song without a label in 'label' is left out" in lines
    assert any(line.startswith("1 song is a copy of another (1 byte-identical), found in ") for line in lines)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"label": "mood"}, LabelError, "'mood': there is no such column"),
        ({"where": "label = 'folk'"}, LabelError, "all 12 songs are of the class 'folk'"),
        ({"where": "label <> 'rock' or song_id = 'rock/00'"}, LabelError, "'rock' has 1"),
        ({"where": "false"}, UsageError, "no song with features is left"),
    ],
)
def test_labels_that_cannot_be_learned_leave_no_folder(
    tmp_path: Path, store: SongStore, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(store, options.pop("label", "label"), tmp_path / "run", progress=Silent(), **options)
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_does_not_fit_leaves_no_folder(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    from songbag_store import FeatureSpec

    small = FeatureSpec(sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=8, window_s=0.3)
    store = make_store(tmp_path / "store", songs_of_classes({"a": 3, "b": 3}, spec=small), spec=small)
    with pytest.raises(ModelError, match="too small"):
        train(store, "label", tmp_path / "run", config=TrainConfig(encoder="reference"), progress=Silent())
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(83)
@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_a_loss_that_is_not_finite_stops_and_names_the_songs(
    tmp_path: Path, store: SongStore, tiny: TrainConfig, steps_per_execution: int
) -> None:
    config = dataclasses.replace(tiny, learning_rate=1e38, batch_size=12, steps_per_execution=steps_per_execution)
    with pytest.raises(NonFiniteLoss, match="step 2 of epoch 1; songs of this batch: '") as caught:
        train(store, "label", tmp_path / "run", config=config, progress=Silent())
    assert len(caught.value.song_ids) == 12
    assert set(caught.value.song_ids) < set(store.songs(arrow=True)["song_id"].to_pylist())


def test_a_shard_lost_during_training_is_named_and_not_wrapped(
    tmp_path: Path, store: SongStore, tiny: TrainConfig
) -> None:
    shutil.copytree(store.address, tmp_path / "store")
    made = split(store, "label", progress=Silent())
    next((tmp_path / "store" / "features.zarr").glob("*/c/0/0/0")).unlink()
    with pytest.raises(DamagedStore, match="songs hit"):
        train(tmp_path / "store", "label", tmp_path / "run", config=tiny, split=made, progress=Silent())
    with pytest.raises(FileNotFoundError, match="not finished"):
        Run.open(tmp_path / "run")
