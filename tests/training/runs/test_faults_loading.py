"""Run folders that a stranger has prepared."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import songbag_training
from songbag_store import FeatureSpec, SongStore
from songbag_store.format.document import write_fields
from songbag_training.errors import DamagedRun
from songbag_training.runs.run import Run
from songbag_training.runs.weights import outline
from tests.support.documents import edit_document
from tests.support.patience import PATIENCE_S

Fresh = tuple[Path, int, list[str], int, str]
FRESH = """
import json, resource, sys
run, store, huge = sys.argv[1:]
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from songbag_training import predict
from songbag_training.errors import DamagedRun
from songbag_training.runs.run import Run
n_failed = predict(run, store, arrow=True)["predicted"].null_count
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Run.open(huge).load_model()
except DamagedRun as error:
    said = str(error)
taken_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([n_failed, [path for path in opened if path.startswith(run)], taken_kib, said]))
"""


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def fresh(run: Run, store: SongStore, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """What a new process did with two runs that a stranger has prepared, and the folder that a bomb would make."""
    folder = tmp_path_factory.mktemp("strange")
    bombs = Path(shutil.copytree(run.folder, folder / "bombs"))
    keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: x)]).save(bombs / "model.keras")
    for name in ("model.h5", "weights.h5", "model.weights.h5", "weights.pkl", "weights.bin", "saved_model.pb"):
        (bombs / name).write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    huge = FeatureSpec(kind="logmel", window_s=3600.0)  # 1.6 GB of weights in the encoder 'reference'
    config = dataclasses.replace(run.facts.config, encoder="reference", bag_size=1)
    facts = dataclasses.replace(run.facts, spec=huge, fingerprint=huge.fingerprint, config=config)
    shutil.copytree(run.folder, folder / "huge")
    (folder / "huge" / "run.json").write_bytes(write_fields(facts))
    command = [sys.executable, "-c", FRESH, str(bombs), store.address, str(folder / "huge")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return folder / "exploded", *json.loads(done.stdout.splitlines()[-1])


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.fault(79)
def test_what_keras_or_pickle_would_run_is_never_opened(fresh: Fresh) -> None:
    exploded, n_failed, opened, _, _ = fresh
    assert n_failed == 0
    assert {Path(path).name for path in opened} == {"run.json", "weights.safetensors"}
    assert not exploded.exists()


@pytest.mark.fault(79)
def test_a_keras_file_in_the_place_of_the_weights_is_refused(copy: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: x)])
    model.save(copy / "model.keras")
    (copy / "model.keras").rename(copy / "weights.safetensors")
    with pytest.raises(DamagedRun, match=r"weights\.safetensors: the weights cannot be read"):
        Run.open(copy).load_model()


@pytest.mark.fault(79)
def test_nothing_in_the_package_can_run_what_it_loads() -> None:
    modules, calls = set(), set()
    for path in Path(songbag_training.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Attribute):
                calls.add(ast.unparse(node))
    assert {"keras", "safetensors"} <= modules
    assert not modules & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "h5py"}
    forbidden = {"keras.models.load_model", "keras.saving.load_model", "keras.saving.load_weights", "np.load"}
    assert not calls & forbidden


@pytest.mark.fault(79)
def test_keras_is_one_whose_safe_mode_holds() -> None:
    needed = {line.partition(";")[0].strip() for line in metadata.requires("songbag") or []}
    assert {line for line in needed if line.startswith("keras")} == {"keras>=3.13.2"}


def _header(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _write(path: Path, header: dict[str, Any], tensors: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)


@pytest.mark.fault(80)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [128, 2**40], "data_offsets": [0, 2**49]}, "cannot be read"),
        ({"shape": [2**40, 2**40]}, "cannot be read"),
        ({"shape": [-1, 3]}, "cannot be read"),
        ({"data_offsets": [2**40, 2**40 + 1536]}, "cannot be read"),
        ({"data_offsets": [-8, 1528]}, "cannot be read"),
        ({"data_offsets": [0, 1536], "file": "/etc/passwd"}, "cannot be read|do not fit"),
        ({"dtype": "O"}, "cannot be read"),
        ({"dtype": "I32"}, "do not fit"),
        ({"shape": "turned"}, "do not fit"),
    ],
)
def test_a_header_that_lies_is_refused(copy: Path, change: dict[str, Any], message: str) -> None:
    path = copy / "weights.safetensors"
    header, tensors = _header(path)
    turned = {"shape": header["head/kernel"]["shape"][::-1]}
    header["head/kernel"] |= turned if change == {"shape": "turned"} else change
    _write(path, header, tensors)
    with pytest.raises(DamagedRun, match=message):
        Run.open(copy).load_model()


@pytest.mark.fault(80)
@pytest.mark.parametrize("length", [2**20 + 1, 2**40, 2**64 - 1])
def test_a_header_without_end_is_refused_unread(copy: Path, length: int) -> None:
    path = copy / "weights.safetensors"
    with path.open("r+b") as file:
        file.write(length.to_bytes(8, "little"))
        file.truncate(2**42)  # a sparse file: it would be as long as it claims
    with pytest.raises(DamagedRun, match=f"header claims {length:,} bytes"):
        Run.open(copy).load_model()


@pytest.mark.fault(80)
@pytest.mark.parametrize("name", ["run.json", "weights.safetensors"])
def test_a_pipe_or_a_device_is_not_waited_for(copy: Path, name: str) -> None:
    for make in (lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
        make(copy / name)
        with pytest.raises(DamagedRun, match="not a regular file"):
            Run.open(copy).load_model()


@pytest.mark.fault(80)
def test_a_run_json_of_gigabytes_is_not_read(copy: Path) -> None:
    os.truncate(copy / "run.json", 2**36)
    with pytest.raises(DamagedRun, match="68,719,476,736 bytes, and at most"):
        Run.open(copy)


@pytest.mark.fault(80)
@pytest.mark.parametrize(
    "config", [{"bag_size": 10**9}, {"batch_size": 2**32 - 1}, {"bag_size": 10**6, "batch_size": 10**4}]
)
def test_sizes_that_no_machine_has_are_refused(run: Run, copy: Path, config: dict[str, int]) -> None:
    edit_document(copy / "run.json", config=run.facts.config.to_dict() | config)
    with pytest.raises(DamagedRun, match=r"config: batch_size [0-9]+ with bag_size [0-9]+ makes batches"):
        Run.open(copy)


@pytest.mark.fault(80)
def test_a_model_far_larger_than_its_weights_is_refused_before_memory_is_taken(
    fresh: Fresh,
) -> None:
    *_, taken_kib, said = fresh
    assert "the weights do not fit the model" in said
    assert taken_kib < 800_000


def test_an_outline_is_that_of_the_model_and_leaves_nothing_behind(run: Run) -> None:
    model = run.load_model()
    assert outline(run.build_model) == {w.path: (tuple(w.shape), np.dtype("float32")) for w in model.weights}
    again = run.load_model()
    for weight, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight, other)
