from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from songbag_pipeline import features_of
from songbag_store import SongStore
from songbag_store.errors import DamagedStore, MissingExtra, SongbagError, SpecMismatch, StoreNotFound, UsageError
from songbag_store.format.array import decode
from songbag_store.progress import Silent
from songbag_store.sql.output import writing_table
from songbag_store.storage.location import Location
from songbag_store.writer import commit_change
from songbag_training import TrainConfig, predict, train
from songbag_training.apply.predict import SONGS_AT_ONCE, explain
from songbag_training.cli import commands
from songbag_training.evaluation.predictions import SongScore, windows_schema, windows_table
from songbag_training.runs.run import Run
from tests.support.audio import chirp, write
from tests.support.command import songbag

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of songs from shorter than a window to 20 windows, a broken one, and a file that is no song."""
    for number, seconds in enumerate((0.3, 0.5, 2.0, 5.25)):
        write(tmp_path / "music" / "album" / f"{number}.wav", chirp(seconds, seed=number))
    (tmp_path / "music" / "broken.mp3").write_bytes(b"")
    (tmp_path / "music" / "cover.jpg").write_bytes(b"not a song")
    return tmp_path / "music"


def test_a_store_is_predicted_as_in_the_run(run: Run, store: SongStore) -> None:
    own = pd.read_parquet(run.folder / "predictions.parquet")
    table = predict(run, store)
    names = ["song_id", "path", "predicted", "p_folk", "p_jazz", "p_rock", "error_code", "error"]
    assert table.columns.tolist() == names
    assert table["song_id"].tolist() == own["song_id"].tolist()
    np.testing.assert_allclose(table[names[3:6]], own[names[3:6]], atol=1e-6)


def test_two_files_of_the_run_folder_suffice_for_new_audio_in_another_process_and_folder(
    run: Run, music: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere" / "run").mkdir(parents=True)
    for name in ("run.json", "weights.safetensors"):
        shutil.copy(run.folder / name, tmp_path / "elsewhere" / "run" / name)
    done = songbag("predict", "run", "../music", "-o", "out.parquet", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "elsewhere" / "out.parquet").equals(predict(run, music, arrow=True))


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_the_suffix_chooses_the_format(run: Run, store: SongStore, tmp_path: Path, suffix: str, read: Any) -> None:
    table = predict(run, store.address, arrow=True)
    predict(run, store.address, tmp_path / f"out{suffix}")
    written = read(tmp_path / f"out{suffix}")
    assert written["predicted"].tolist() == table["predicted"].to_pylist()
    np.testing.assert_allclose(written["p_jazz"], table["p_jazz"])


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv"])
def test_an_output_that_cannot_be_is_refused_before_work_starts(run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        predict(run, "no such source", tmp_path / name)
    with pytest.raises(UsageError, match=name):
        predict(run, "no such source", tmp_path / "out.csv", windows=tmp_path / name)


def test_predictions_and_windows_are_two_files(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="into one file"):
        predict(run, "no such source", tmp_path / "a.csv", windows=tmp_path / "." / "a.csv")


def test_other_features_are_refused_by_the_fields_that_differ(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any, spec: Any
) -> None:
    other = dataclasses.replace(spec, n_mfcc=11, top_db=60.0)
    store = make_store(tmp_path / "store", songs_of_classes({"a": 1}, spec=other), spec=other)
    with pytest.raises(SpecMismatch, match=r"the model's against the store's \(n_mfcc 10 against 11, top_db 80\.0 ag"):
        predict(run, store)


def test_songs_that_failed_keep_a_row_with_the_reason(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    failed = {"song_id": "b.mp3", "status": "failed", "error_code": "corrupt", "error": "cut off"}
    store = make_store(tmp_path / "store", [*songs_of_classes({"a": 1, "c": 1}), failed])
    table = predict(run, store, arrow=True)
    assert table["song_id"].to_pylist() == ["a/00", "b.mp3", "c/00"]
    assert table["predicted"].is_null().to_pylist() == [False, True, False]
    assert table["error_code"].to_pylist() == [None, "corrupt", None]


def test_audio_is_predicted_as_the_same_songs_from_a_store(
    run: Run, music: Path, tmp_path: Path, make_store: Any
) -> None:
    songs = [
        {"song_id": song.song_id, "path": song.path, "windows": decode(np.array(song.windows), run.facts.spec)}
        for song in features_of(music, run.facts.spec)
        if song.windows is not None
    ]
    assert [len(song["windows"]) for song in songs] == [1, 1, 7, 20]
    from_audio = predict(run, music, arrow=True)
    from_store = predict(run, make_store(tmp_path / "store", songs[::-1]), arrow=True)
    assert from_audio["error_code"].to_pylist() == [None] * 4 + ["empty-file"]
    assert from_audio["predicted"].to_pylist()[4] is None
    assert from_audio.slice(0, 4).equals(from_store)


def test_what_the_source_leaves_out_and_what_failed_is_shown(run: Run, music: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(commands, ["predict", str(run.folder), str(music), "-o", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    first, *explained, failed, last = done.output.splitlines()
    assert first == "note: files without the suffix of an audio file left out: 1 (.jpg)"
    assert len(explained) == 4
    assert failed == "failed: broken.mp3: the file is empty"
    assert last == f"4 songs predicted, 1 failed (see the column error): {tmp_path / 'out.csv'}"


@pytest.mark.fault(98)
def test_a_prediction_of_no_song_at_all_ends_with_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.mp3").write_bytes(b"")
    (tmp_path / "list.csv").write_text("path\nbroken.mp3\n")
    done = CliRunner().invoke(
        commands, ["predict", str(run.folder), str(tmp_path / "list.csv"), "-o", str(tmp_path / "out.csv")]
    )
    assert (done.exit_code, done.output.splitlines()[-1][:27]) == (1, "0 songs predicted, 1 failed")
    (tmp_path / "broken.mp3").unlink()
    with pytest.raises(SongbagError, match=f"paths start in {tmp_path}"):
        predict(run, tmp_path / "list.csv")


def test_audio_without_the_pipeline_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "songbag_pipeline", None)
    with pytest.raises(MissingExtra, match=r"pip install 'songbag\[pipeline\]'"):
        predict(run, "music/")


def test_odd_class_names_are_kept_as_they_are(tmp_path: Path, make_store: Any, songs_of_classes: Any) -> None:
    names = ["a,b", 'quote"d', "part", "ünï", "new\nline"]
    songs = songs_of_classes(dict.fromkeys(names, 3))
    for number, song in enumerate(songs):
        song["song_id"] = str(number)
    store = make_store(tmp_path / "store", songs)
    config = TrainConfig(epochs=1, bag_size=2, encoder="dense", no_floor=True)
    run = train(store, "label", tmp_path / "run", config=config, progress=Silent())
    predict(run, store, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist()[3:-2] == [f"p_{name}" for name in sorted(names)]


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_windows_tell_which_seconds_decided(run: Run, store: SongStore, tmp_path: Path, suffix: str, read: Any) -> None:
    path = tmp_path / f"why{suffix}"
    predict(run, store, tmp_path / "out.csv", windows=path)
    windows = read(path)
    classes = [f"p_{name}" for name in run.facts.classes]
    assert windows.columns.tolist() == ["song_id", "window", "start_s", "end_s", "weight", *classes, "turns_to"]
    own = pd.read_parquet(run.folder / "windows.parquet")
    # In CSV a list of classes is JSON, and no list an empty field.
    shown = own["turns_to"].map(lambda names: None if names is None else json.dumps(list(names)))
    own = own.assign(turns_to=shown if suffix == ".csv" else own["turns_to"])
    filled = (table.astype({"turns_to": object}).fillna({"turns_to": ""}) for table in (windows, own))
    pd.testing.assert_frame_equal(*filled, check_dtype=False)
    sizes = dict(zip(store.songs()["song_id"], store.songs()["n_windows"], strict=True))
    assert windows.groupby("song_id").size().to_dict() == sizes
    np.testing.assert_allclose(windows.groupby("song_id")["weight"].sum(), 1.0, atol=1e-6)
    np.testing.assert_allclose(windows["start_s"], windows["window"] * 0.25)
    np.testing.assert_allclose(windows["end_s"] - windows["start_s"], 0.5)


def test_an_explanation_names_the_seconds_that_speak_most_for_the_class(run: Run) -> None:
    own = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    score = SongScore("a\x1bb", np.array([0.2, 0.8]), own, np.array([0.4, 0.1, 0.3, 0.2]))
    facts = dataclasses.replace(run.facts, classes=["folk", "rock"])
    line = explain(score, facts)
    seconds = "0.5-1.0 s (weight 0.30), 0.8-1.2 s (weight 0.20), 0.2-0.8 s (weight 0.10)"
    assert line == f"a\\x1bb: rock 0.80, by {seconds}"
    both = SongScore("b", np.array([0.6, 0.8]), own, score.weights)
    assert explain(both, dataclasses.replace(facts, task="multi-label")).startswith("b: folk 0.60, rock 0.80, by 0.0-")
    neither = SongScore("c", np.array([0.1, 0.4]), own, score.weights)
    assert explain(neither, dataclasses.replace(facts, task="multi-label")) == f"c: rock 0.40, by {seconds}"


def test_a_million_windows_are_written_with_memory_for_a_tenth_of_them(run: Run, tmp_path: Path) -> None:
    shares = np.full((1000, 3), 1 / 3)
    before, peak = pa.total_allocated_bytes(), 0
    spec, classes = run.facts.spec, run.facts.classes
    with writing_table(tmp_path / "w.parquet", windows_schema(classes)) as writer:
        for number in range(1000):
            score = SongScore(str(number), shares[0], shares, np.full(1000, 1e-3))
            writer.add(windows_table(score, spec, classes))
            peak = max(peak, pa.total_allocated_bytes() - before)
    file = pq.ParquetFile(tmp_path / "w.parquet")
    assert (file.metadata.num_rows, file.num_row_groups) == (1_000_000, 10)
    assert peak < 3 * 100_000 * (6 * 8 + 4 + 7)  # the windows held, once more in one piece, and the writer's own


def test_an_earlier_snapshot_of_a_store_is_predicted(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any, music: Path
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 2}))
    commit_change(store, lambda base: (base.index.slice(0, 1), base.parts), note="remove")
    assert predict(run, store.address)["song_id"].tolist() == ["a/00"]
    assert predict(run, Location(store.address, snapshot=1))["song_id"].tolist() == ["a/00", "a/01"]
    with pytest.raises(StoreNotFound):
        predict(run, Location(store.address, snapshot=9))
    with pytest.raises(UsageError, match="audio has no snapshots"):
        predict(run, Location(str(music), snapshot=1))


def test_damage_halfway_leaves_what_was_written_before(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    store = make_store(tmp_path / "store", songs_of_classes({"a": 3}))
    for shard in (tmp_path / "store" / "features.zarr").rglob("c/*/*/*"):
        os.truncate(shard, 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "out.csv").write_text("of last week")
    with pytest.raises(DamagedStore):
        predict(run, store, tmp_path / "out" / "out.csv", windows=tmp_path / "out" / "why.csv")
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["of last week"]


def test_more_songs_than_are_held_at_once_come_in_the_order_of_their_ids(
    run: Run, tmp_path: Path, make_store: Any, rng: np.random.Generator
) -> None:
    n_each = SONGS_AT_ONCE // 2 + 3
    windows = rng.normal(0, 20, (2 * n_each, 1, *run.facts.spec.window_shape)).astype(np.float32)
    ids = [f"{name}/{n:04}" for name in "ba" for n in range(n_each)]
    songs = [{"song_id": song_id, "windows": one} for song_id, one in zip(ids, windows, strict=True)]
    store = make_store(tmp_path / "store", songs)
    table = predict(run, store, arrow=True)
    assert table["song_id"].to_pylist() == sorted(ids)
    done = predict(run, store, tmp_path / "out.csv")
    assert (done.n_songs, done.n_failed, len(done.explanations)) == (2 * n_each, 0, 10)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["p_folk"], table["p_folk"])
