"""What is published: the wheel, its metadata and contents; as a long form, its installation into empty environments."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import songbag_store
from tests.support.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    made = {"wheel": WheelBuilder, "sdist": SdistBuilder}
    return {
        name: Path(next(builder(str(ROOT)).build(directory=str(folder), versions=["standard"])))
        for name, builder in made.items()
    }


@pytest.fixture(scope="module")
def metadata(built: dict[str, Path]) -> Message:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_has_every_module_and_nothing_else(built: dict[str, Path]) -> None:
    tops = {
        "songbag": "store",
        "songbag_store": "store",
        "songbag_pipeline": "pipeline",
        "songbag_training": "training",
    }
    own = {
        path.relative_to(ROOT / folder).as_posix()
        for top, folder in tops.items()
        for path in (ROOT / folder / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == own


def test_the_metadata_say_what_it_is_and_invent_no_address(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("songbag", songbag_store.__version__)
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("Project-URL") is None
    assert metadata["Home-page"] is None
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    pythons = [line.rpartition(" ")[2] for line in metadata.get_all("Classifier") or () if ":: 3." in line]
    assert metadata["Requires-Python"] == f">={pythons[0]}"
    assert pythons == ["3.11", "3.12", "3.13"]


def test_every_page_that_the_project_names_its_version_in_agrees() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == songbag_store.__version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_matrix_of_pythons_is_that_of_the_classifiers_and_calls_the_same_command() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    job = workflow["jobs"]["tests"]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: 3." in line]
    assert job["strategy"]["matrix"]["python"] == named
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]


@pytest.mark.parametrize("name", ["worker", "training"])
def test_an_image_copies_files_that_exist_and_installs_its_extra(name: str) -> None:
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert copied
    assert [word for word in copied if not (ROOT / word).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert [word for word in copied if f"!{word}" not in ignored] == []
    extra = {"worker": "pipeline"}.get(name, name)
    assert f"'.[{extra}]'" in text
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "docker" / f"{name}.Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


PYTHON_OF = {"": "songbag_store", "pipeline": "songbag_pipeline", "training": "songbag_training", "all": "songbag"}
TRIED = """
set -eu
songbag --version
songbag --help > help.txt
songbag doctor > doctor.txt || true
grep -q "MISSING\\|works\\|songbag" doctor.txt
"""


@pytest.fixture
def empty_environment(tmp_path: Path) -> Path:
    venv.create(tmp_path / "venv", with_pip=True)
    return tmp_path / "venv" / "bin"


@pytest.mark.long
@pytest.mark.skipif("SONGBAG_LONG" not in os.environ, reason="installs from a package registry: minutes")
@pytest.mark.parametrize("form", ["wheel", "sdist"])
@pytest.mark.parametrize("extra", ["", "pipeline", "training", "all"])
def test_it_installs_alone_into_an_empty_environment(
    built: dict[str, Path], empty_environment: Path, tmp_path: Path, extra: str, form: str
) -> None:
    wanted = f"{built[form]}[{extra}]" if extra else str(built[form])
    pip = [empty_environment / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wanted]
    subprocess.run(pip, check=True, capture_output=True)
    environment = {"PATH": f"{empty_environment}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*command: str, code: int = 0) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert run("songbag", "--version").strip() == f"songbag {songbag_store.__version__}"
    text = run("songbag", "doctor")
    lacking = re.findall(r"pip install 'songbag\[(\w+)\]'", text)
    assert set(lacking) == {"pipeline", "training", "onnx", "mlflow"} - {extra} - (
        {"pipeline", "training"} if extra == "all" else set()
    )
    if extra in ("pipeline", "all"):
        run("songbag", "extract", str(ROOT / "shared" / "audio"), "store", code=0)
    else:
        assert "pip install 'songbag[pipeline]'" in run("songbag", "extract", "songs", "store", code=1)
    if extra in ("training", "all"):
        run("python", "-c", "import songbag; songbag.train")
    else:
        assert "pip install 'songbag[training]'" in run("songbag", "predict", "run", "store", "-o", "p.csv", code=1)
