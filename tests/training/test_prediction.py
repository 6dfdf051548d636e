from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.errors import MissingExtra, SpecMismatch, UsageError
from songbag_training import TrainConfig, predict, train
from songbag_training.runs import Run


def test_a_store_is_predicted_as_in_the_run(run: Run, store: SongStore) -> None:
    own = pd.read_parquet(run.folder / "predictions.parquet")
    table = predict(run, store).to_pandas()
    names = ["song_id", "path", "predicted", "p_folk", "p_jazz", "p_rock", "error_code", "error"]
    assert table.columns.tolist() == names
    assert table["song_id"].tolist() == own["song_id"].tolist()
    np.testing.assert_allclose(table[names[3:6]], own[names[3:6]], atol=1e-6)


def test_the_run_folder_suffices(run: Run, store: SongStore, tmp_path: Path) -> None:
    run_elsewhere = shutil.copytree(run.folder, tmp_path / "a" / "run")
    store_elsewhere = shutil.copytree(store.location, tmp_path / "b" / "store")
    for name in ("split.parquet", "history.csv", "metrics.json", "predictions.parquet", "windows.parquet"):
        (run_elsewhere / name).unlink()
    assert predict(run_elsewhere, store_elsewhere).equals(predict(run, store))


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_the_suffix_chooses_the_format(run: Run, store: SongStore, tmp_path: Path, suffix: str, read: Any) -> None:
    table = predict(run, store.location, tmp_path / f"out{suffix}")
    written = read(tmp_path / f"out{suffix}")
    assert written["predicted"].tolist() == table["predicted"].to_pylist()
    np.testing.assert_allclose(written["p_jazz"], table["p_jazz"])


@pytest.mark.parametrize("name", ["out.xlsx", "out", "missing/out.csv"])
def test_an_output_that_cannot_be_is_refused_before_work_starts(run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        predict(run, "no such source", tmp_path / name)


def test_other_features_are_refused_by_the_fields_that_differ(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any, spec: Any
) -> None:
    other = dataclasses.replace(spec, n_mfcc=11, top_db=60.0)
    store = make_store(tmp_path / "store", songs_of_classes({"a": 1}, spec=other), spec=other)
    with pytest.raises(SpecMismatch, match=r"n_mfcc 10 against 11, top_db 80\.0 against 60\.0"):
        predict(run, store)


def test_songs_that_failed_keep_a_row_with_the_reason(
    run: Run, tmp_path: Path, make_store: Any, songs_of_classes: Any
) -> None:
    failed = {"song_id": "b.mp3", "status": "failed", "error_code": "corrupt", "error": "cut off"}
    store = make_store(tmp_path / "store", [*songs_of_classes({"a": 1, "c": 1}), failed])
    table = predict(run, store)
    assert table["song_id"].to_pylist() == ["a/00", "b.mp3", "c/00"]
    assert table["predicted"].is_null().to_pylist() == [False, True, False]
    assert table["error_code"].to_pylist() == [None, "corrupt", None]


def test_audio_is_predicted_as_the_same_windows_from_a_store(
    run: Run, store: SongStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def features_of(source: str, spec: Any) -> Any:
        assert spec == store.spec
        for number, row in enumerate(store.select_songs().to_pylist()):
            windows = store.reader.read_all(store.spans(store.index.slice(number, 1)))[0]
            yield SimpleNamespace(
                song_id=row["song_id"], path=row["path"], windows=windows, error_code=None, error=None
            )
        yield SimpleNamespace(song_id="zz", path="/zz", windows=None, error_code="missing", error="no such file")

    monkeypatch.setitem(sys.modules, "songbag_pipeline", SimpleNamespace(features_of=features_of))
    from_audio, from_store = predict(run, "music/").to_pandas(), predict(run, store).to_pandas()
    assert from_audio.iloc[-1][["song_id", "error_code", "error"]].tolist() == ["zz", "missing", "no such file"]
    pd.testing.assert_frame_equal(from_audio.iloc[:-1], from_store, check_dtype=False)


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
    config = TrainConfig(epochs=1, bag_size=2, encoder="reference")
    run = train(store, "label", tmp_path / "run", config=config, report=lambda line: None)
    predict(run, store, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist()[3:-2] == [f"p_{name}" for name in sorted(names)]
