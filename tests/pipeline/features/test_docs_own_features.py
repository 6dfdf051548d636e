"""What docs/how-to/songs/own-features.md shows is run: extracted on workers, trained, and predicted from audio."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from songbag_pipeline import window_features
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SpecError
from songbag_store.format.array import decode, encode
from songbag_store.progress import Silent
from songbag_training import predict, train
from songbag_training.config import TrainConfig
from tests.support.audio import chirp, write
from tests.support.command import songbag
from tests.support.pages import arguments

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "songs" / "own-features.md").read_text()
MODULES = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^    (songbag extract .*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the modules of the page, where the work is done."""
    for name, code in MODULES:
        (tmp_path / name).write_text(code)
    for number in range(12):
        tone = chirp(3.0, seed=number) * (0.2 if number % 2 else 0.9)
        write(tmp_path / "songs" / ("quiet" if number % 2 else "loud") / f"{number}.wav", tone)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_function_of_the_page_is_stored_trained_on_and_allowed_by_name(
    folder: Path, standing_cluster: Path
) -> None:
    here = "--scheduler-file", str(standing_cluster), "--label-from-folder"
    done = songbag(*arguments(f"$ {COMMANDS[0]}"), *here, cwd=folder)
    assert (done.returncode, "12 songs stored, 0 failed" in done.stdout) == (0, True), done.stderr
    store = SongStore.open(folder / "store")
    spec = FeatureSpec.custom("my_features:levels", options={"power": 3}, window_s=2.0)
    assert store.spec == spec
    assert store.windows("loud/0.wav").shape == (2, 2, 1)
    again = songbag("extract", "songs", "store", *here, cwd=folder)
    assert again.returncode == 2
    assert "not run unasked" in again.stderr
    assert "--features" in again.stderr
    run = train(store, "label", folder / "run", TrainConfig(epochs=1, bag_size=2, no_floor=True), progress=Silent())
    assert run.facts.config.encoder == "dense"
    with pytest.raises(SpecError, match="not run unasked"):
        predict(run, folder / "songs", progress=Silent())
    of_audio = predict(run, folder / "songs", features="my_features:levels", progress=Silent())
    of_store = predict(run, store)
    assert of_audio["p_loud"].tolist() == of_store["p_loud"].tolist()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_network_of_the_page_gives_its_vectors(folder: Path) -> None:
    network = keras.Sequential([keras.Input((16000,)), keras.layers.Dense(64)])
    network.save(folder / "embedding.keras")
    spec = FeatureSpec.custom("my_network:Embedding", window_s=1.0)
    samples = chirp(2.0, 16000)[:, 0].astype(np.float32)
    windows = window_features(samples, spec)
    blocks = np.lib.stride_tricks.sliding_window_view(samples, 16000)[::8000]
    assert windows.shape == (3, 64, 1)
    np.testing.assert_allclose(windows[:, :, 0], keras.ops.convert_to_numpy(network(blocks)), rtol=1e-4, atol=1e-5)


def test_the_log_mel_of_the_page_is_that_of_songbag(folder: Path) -> None:
    spec = FeatureSpec.custom("my_logmel:logmel", window_s=1.0)
    samples = chirp(3.0)[:, 0].astype(np.float32)
    same = window_features(samples, FeatureSpec(kind="logmel", n_mels=64, window_s=1.0))
    assert (spec.encoding, spec.step, spec.window_shape) == ("int16", 1 / 16, same.shape[1:])
    np.testing.assert_allclose(window_features(samples, spec), same, atol=1e-2)


def test_the_example_of_chroma_hears_the_pitch_class_of_a_tone() -> None:
    spec = FeatureSpec.custom("examples.chroma:chroma", window_s=1.0)
    tone = np.sin(2 * np.pi * 440 / 22050 * np.arange(2 * 22050)).astype(np.float32)
    windows = window_features(tone, spec)
    assert windows.shape == (3, 12, 1)
    assert (windows[:, :, 0].argmax(axis=1) == 9).all()
    assert np.abs(decode(encode(windows, spec), spec) - windows).max() <= 1 / 8192
