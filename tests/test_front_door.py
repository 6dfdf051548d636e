"""`import songbag`: what it names, how little it loads, and that its words are those of the commands."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer

import songbag
import songbag_pipeline
import songbag_store
import songbag_training
from songbag_store.cli import root
from songbag_store.errors import MissingExtra
from songbag_training.sweeps.sweep import Dealt
from tests.support.audio import chirp, write

FUNCTIONS = (
    *(
        "open",
        "extract",
        "split",
        "baseline",
        "train",
        "cross_validate",
        "pretrain",
        "evaluate",
        "predict",
        "explain",
        "export",
        "embed",
        "similar",
    ),
    *("relabel", "remove", "compact", "gc", "verify", "repair", "history", "info", "failures", "copies", "diff"),
    *("doctor", "report", "runs", "compare", "review", "sweep"),
)

ELSEWHERE = {"snapshot", "storage_option", "cache_dir", "cache_size", "json", "as_json", "folder"}
"""Options that a `Location` holds, and those that only say how a command prints."""
IN_OTHER_WORDS = {
    "train": {"resume"},
    "cross_validate": {"resume"},
    "pretrain": {"resume"},
    "extract": {"features"},
    "relabel": {"from_tags"},
    "copies": {"form", "output"},
    "doctor": {"form", "output"},
    "diff": {"form", "output"},
    "similar": {"form", "output"},
    "explain": {"form"},
    "compare": {"folders", "table", "form", "output"},
    "review": {"form", "output"},
    "runs": {"form", "output", "every"},
}
"""Options that Python has in another form: a function of its own, two fields (`--features mfcc+delta`), a table."""


def fresh(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True).stdout


def test_importing_it_loads_no_heavy_library() -> None:
    heavy = ("tensorflow", "keras", "dask", "pyarrow", "pandas", "zarr", "duckdb", "numpy", "typer")
    loaded = fresh("import songbag, sys; print(*sys.modules)").split()
    assert [name for name in heavy if name in loaded] == []


@pytest.mark.parametrize("name", songbag.__all__)
def test_every_name_is_there_and_is_documented(name: str) -> None:
    value = getattr(songbag, name)
    assert value is getattr(songbag, name)
    if name != "__version__":
        assert inspect.getdoc(value)


@pytest.mark.parametrize("door", [songbag, songbag_store, songbag_pipeline, songbag_training])
def test_the_names_for_types_are_those_that_are_loaded(door: ModuleType) -> None:
    tree = ast.parse(Path(str(door.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        (node.module, alias.asname) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    call = next(node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call))
    homes = ast.literal_eval(call.args[1])
    assert typed == {(home, name) for home, names in homes.items() for name in names}
    assert dir(door) == door.__all__ == sorted(name for _, name in typed)


def command_of(function: str) -> Any:
    root._add_commands()
    commands = typer.main.get_command(root.app).commands  # type: ignore[attr-defined]
    return commands.get(function.replace("_", "-"))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("open", "info", "failures", "history")])
def test_a_function_has_the_words_of_its_command(name: str) -> None:
    """Each option is an argument, or a field of a value that is one: `FeatureSpec`, `TrainConfig`, `ExtractConfig`."""
    values = {"spec": songbag.FeatureSpec, "config": songbag.TrainConfig, "team": songbag.TeamConfig}
    own = {"extract": songbag.ExtractConfig, "predict": songbag.PredictConfig, "baseline": songbag.BaselineConfig}
    values |= {"config": own[name]} if name in own else {}
    values |= {"cluster": songbag.Cluster, "search": songbag.Search}
    values |= {"pretrain": {"config": songbag.PretrainConfig}}.get(name, {})
    arguments = set(inspect.signature(getattr(songbag, name)).parameters)
    arguments |= Dealt.__annotations__.keys() if "dealt" in arguments else set()
    fields = {field for value in arguments & values.keys() for field in inspect.signature(values[value]).parameters}
    command = command_of(name)
    assert command is not None
    options = {parameter.name for parameter in command.params} - ELSEWHERE - IN_OTHER_WORDS.get(name, set()) - {"help"}
    assert options - arguments - fields == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        songbag.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("train", "keras", "training"), ("extract", "distributed", "pipeline"), ("window_features", "scipy", "pipeline")],
)
def test_a_name_whose_extra_is_not_installed_says_how_to_install_it(name: str, module: str, extra: str) -> None:
    call = "('songs', 'store')" if name == "extract" else ""
    code = f"import sys; sys.modules[{module!r}] = None; import songbag; songbag.{name}{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1800, check=False)
    assert MissingExtra.__name__ in done.stderr
    assert f"pip install 'songbag[{extra}]'" in done.stderr


def test_python_m_songbag_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "songbag", "--help"], capture_output=True, text=True, timeout=1800, check=False
    )
    assert (done.returncode, "cross-validate" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda store, out: songbag.extract(store, out, config={"workers": 1}), "config"),
        (lambda store, out: songbag.extract(store, out, "chroma"), "spec"),
        (lambda store, out: songbag.window_features([0.0], {"window_s": 1}), "spec"),
        (lambda store, out: next(songbag.features_of(store, {"window_s": 1})), "spec"),
        (lambda store, out: songbag.train(store, "genre", out, {"epochs": 1}), "config"),
        (lambda store, out: songbag.train(store, "genre", out, songbag.BaselineConfig()), "config"),
        (lambda store, out: songbag.cross_validate(store, "genre", out, {"epochs": 1}), "config"),
        (lambda store, out: songbag.sweep(store, "genre", out, {"epochs": [1]}, {"epochs": 1}), "config"),
        (lambda store, out: songbag.baseline(store, "genre", out, songbag.TrainConfig()), "config"),
        (lambda store, out: songbag.pretrain(store, out, {"epochs": 1}), "config"),
        (lambda store, out: songbag.predict(out, store, config={"workers": 1}), "config"),
        (lambda store, out: songbag.info(None), "address"),
        (lambda store, out: songbag.report(None), "address"),
        (lambda store, out: songbag.verify(None), "address"),
    ],
)
def test_what_is_no_spec_no_config_and_no_place_is_refused_by_its_type(call: Any, place: str, tmp_path: Path) -> None:
    with pytest.raises(songbag.SongbagError) as refused:
        call(str(tmp_path / "store"), tmp_path / "new")
    assert (refused.value.place, refused.value.what[:12]) == (place, "is given as ")
    assert [*tmp_path.iterdir()] == []


def test_audio_is_read_by_numbers_of_numpy_and_by_an_address(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(1.0))
    given: dict[str, Any] = {"sample_rate_hz": np.int64(8000), "start_s": np.float32(0.25), "end_s": np.float64(0.5)}
    assert songbag.read_audio(path.as_uri(), **given).shape == (2001,)
    for name, wrong in (("sample_rate_hz", 0), ("sample_rate_hz", "8000"), ("start_s", None), ("end_s", "1")):
        with pytest.raises(songbag.SongbagError) as refused:
            songbag.read_audio(path, **{name: wrong})  # type: ignore[arg-type]
        assert refused.value.place == name
