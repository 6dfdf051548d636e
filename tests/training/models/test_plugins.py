from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Silent
from songbag_training import TrainConfig, predict, song_model, train
from songbag_training.errors import DamagedRun, ModelError
from songbag_training.models.plugins import build_encoder, load_encoder
from songbag_training.runs.run import Run
from songbag_training.songs.task import Task
from tests.support.documents import edit_document

NETS = """
import keras
from keras import layers


def small(n_bands, n_frames, n_channels):
    return keras.Sequential([
        keras.Input((n_bands, n_frames, n_channels)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(6),
    ])


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.dense = layers.Flatten(), layers.Dense(5)

    def call(self, images):
        return self.dense(self.flat(images))


def subclassed(n_bands, n_frames, n_channels):
    return Own()


def fails(n_bands, n_frames, n_channels):
    raise RuntimeError("no\\nluck")


def no_model(n_bands, n_frames, n_channels):
    return "model"


def other_windows(n_bands, n_frames, n_channels):
    return keras.Sequential([keras.Input((n_bands + 1, n_frames, n_channels)), layers.Flatten()])


def image(n_bands, n_frames, n_channels):
    return keras.Sequential([keras.Input((n_bands, n_frames, n_channels)), layers.Conv2D(3, 3)])


def two(n_bands, n_frames, n_channels):
    windows = keras.Input((n_bands, n_frames, n_channels))
    flat = layers.Flatten()(windows)
    return keras.Model(windows, [flat, flat])


def halves(n_bands, n_frames, n_channels):
    windows = keras.Input((n_bands, n_frames, n_channels))
    return keras.Model(windows, layers.Dense(2, dtype="float16")(layers.Flatten()(windows)))


CONSTANT = 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in the current folder, which no import path knows."""
    folder = tmp_path / "code"
    folder.mkdir()
    name = f"nets_{abs(hash(str(tmp_path)))}"
    (folder / f"{name}.py").write_text(NETS)
    (folder / f"broken_{name}.py").write_text("import no_such_thing_at_all\n")
    monkeypatch.chdir(folder)
    return name


@pytest.mark.parametrize("function", ["small", "subclassed"])
@pytest.mark.parametrize("shape", [(13, 16, 1), (10, 16, 3)])
def test_a_function_of_the_current_folder_becomes_an_encoder(nets: str, function: str, shape: Any) -> None:
    before = list(sys.path)
    encoder = build_encoder(f"{nets}:{function}", *shape)
    assert encoder(np.ones((2, *shape), np.float32)).shape == (2, 6 if function == "small" else 5)
    assert sys.path == before


@pytest.mark.parametrize("function", ["small", "subclassed"])
def test_its_weights_have_the_same_names_each_time(nets: str, spec: FeatureSpec, function: str) -> None:
    first, second = (song_model(spec, Task(("a", "b", "c")), encoder=f"{nets}:{function}") for _ in range(2))
    names = [variable.path for variable in first.weights]
    assert names == [variable.path for variable in second.weights]
    assert len(set(names)) == len(names)
    assert "encoder/000/kernel" in names


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "fails for windows of .* with RuntimeError: no"),
        ("no_model", "returns str and not a keras.Model"),
        ("other_windows", "does not take windows of"),
        ("image", r"an output of shape \(None, 8, 14, 3\) and not"),
        ("two", "several outputs and not"),
        ("halves", "is of type float16"),
        ("missing", "has no function 'missing'"),
        ("CONSTANT", "has no function 'CONSTANT'"),
    ],
)
def test_what_is_no_encoder_is_refused_with_the_reason(nets: str, function: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"encoder '{nets}:{function}': .*{message}"):
        build_encoder(f"{nets}:{function}", 10, 16, 1)


def test_a_module_that_is_not_there_or_cannot_be_imported_is_named(nets: str) -> None:
    with pytest.raises(ModelError, match=r"the module 'nowhere\.nets' is not there\.\n  Install"):
        load_encoder("nowhere.nets:small")
    with pytest.raises(ModelError, match=r"cannot be imported .ModuleNotFoundError: No module named 'no_such_thing"):
        load_encoder(f"broken_{nets}:small")


def test_a_function_that_only_looks_like_an_encoder_is_called_with_three_numbers_and_no_more() -> None:
    with pytest.raises(ModelError, match=r"fails for windows of .* with TypeError"):
        build_encoder("os:system", 10, 16, 1)


@pytest.fixture
def plugged(nets: str, store: SongStore, tmp_path: Path) -> Run:
    config = TrainConfig(epochs=1, bag_size=2, batch_size=16, encoder=f"{nets}:small", no_floor=True)
    return train(store, "label", tmp_path / "run", config=config, progress=Silent())


def test_a_run_with_an_encoder_from_outside_is_used_again_when_it_is_named(
    plugged: Run, nets: str, store: SongStore
) -> None:
    again = Run.open(plugged.folder).allow_encoder(f"{nets}:small")
    table = predict(again, store, arrow=True)
    assert table.num_rows == 36
    with pytest.raises(UsageError, match=f"is '{nets}:small', not '{nets}:fails'"):
        Run.open(plugged.folder).allow_encoder(f"{nets}:fails")


def test_a_run_from_anybody_brings_no_code_to_run(plugged: Run, nets: str, store: SongStore) -> None:
    del sys.modules[nets]
    with pytest.raises(UsageError, match=f"If you trust it, allow it by its name: `encoder='{nets}:small'`"):
        predict(plugged.folder, store)
    assert nets not in sys.modules
    folder = shutil.copytree(plugged.folder, plugged.folder.parent / "foreign")
    config = plugged.facts.config.to_dict()
    edit_document(folder / "run.json", config=config | {"encoder": "os:getcwd"})
    with pytest.raises(UsageError, match="code from outside songbag, which is not run unasked"):
        Run.open(folder).load_model()
    edit_document(folder / "run.json", config=config | {"encoder": "os.path.join(1)"})
    with pytest.raises(DamagedRun, match="module:function"):
        Run.open(folder)
