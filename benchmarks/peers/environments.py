"""The peers' Python environments: one for each group of requirements, with what could not be installed written down.

A line ``# python: 3.12`` in a group's file asks for that version of Python. It is looked for as ``python3.12`` and
among pyenv's versions; SONGBAG_BENCH_PYTHON names another. A group whose Python is not there is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

GROUPS = sorted(path.stem for path in (Path(__file__).parent / "requirements").glob("*.txt"))
OWN = "songbag"
"""The group of songbag itself: the environment that runs the benchmarks."""

_REASONS = "missing.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The peers of one requirements file."""

    name: str
    python: str
    """The version of Python asked for, or "" for the one that runs this."""

    requirements: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> Group:
        """Read the file of a group."""
        lines = (Path(__file__).parent / "requirements" / f"{name}.txt").read_text().splitlines()
        python = next((line.split(":")[1].strip() for line in lines if line.startswith("# python:")), "")
        wanted = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        return cls(name=name, python=python, requirements=wanted)


def folder() -> Path:
    """Return the folder of the environments: SONGBAG_BENCH_ENVIRONMENTS, or .bench in the checkout."""
    return Path(os.environ.get("SONGBAG_BENCH_ENVIRONMENTS") or Path(__file__).parents[2] / ".bench").absolute()


def interpreter(group: str) -> Path:
    """Return the Python of a group, whether it is there or not."""
    return Path(sys.executable) if group == OWN else folder() / group / "bin" / "python"


def install() -> None:
    """Make every environment that is not complete, and print what is missing."""
    for name in GROUPS:
        group = Group.read(name)
        if _state(name).get("wanted") != list(group.requirements):
            print(f"songbag: installing the peers of the group {name}: {', '.join(group.requirements)}", flush=True)
            make(group)
        for requirement, reason in missing(name).items():
            print(f"songbag: {requirement} is missing: {reason}", flush=True)


def make(group: Group) -> None:
    """Make the environment of a group, and write down what could not be installed."""
    place = folder() / group.name
    reasons = dict.fromkeys(group.requirements, f"no Python {group.python} here")
    if python := _found(group.python):
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([python, "-m", "venv", place], check=True)
        reasons = _installed(interpreter(group.name), group.requirements)
    place.mkdir(parents=True, exist_ok=True)
    (place / _REASONS).write_text(json.dumps({"wanted": group.requirements, "missing": reasons}, indent=1))


def missing(group: str) -> dict[str, str]:
    """Return the requirements of a group that could not be installed, with the reasons."""
    if group == OWN:
        return {}
    if not (state := _state(group)):
        return dict.fromkeys(Group.read(group).requirements, "not installed: run make bench-install")
    return dict(state["missing"])


def reason(group: str, package: str) -> str | None:
    """Return why a package is not there, or None if it is."""
    return next((why for what, why in missing(group).items() if _named(what) == package), None)


@functools.cache
def versions(group: str) -> dict[str, str]:
    """Return the versions of what is installed in a group's environment, and of its Python."""
    code = (
        "import importlib.metadata as m, json, platform;"
        "found = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()};"
        "print(json.dumps(found | {'python': platform.python_version()}))"
    )
    done = subprocess.run([interpreter(group), "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _named(requirement: str) -> str:
    return re.split(r"[=<>\[ ]", requirement)[0]


def _state(name: str) -> dict[str, Any]:
    path = folder() / name / _REASONS
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _installed(python: Path, requirements: tuple[str, ...]) -> dict[str, str]:
    """Install all at once, or else one by one; return what failed."""
    if _pip(python, *requirements) is None:
        return {}
    failed = {one: _pip(python, one) for one in requirements}
    return {one: why for one, why in failed.items() if why is not None}


def _pip(python: Path, *requirements: str) -> str | None:
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        *requirements,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    return None if done.returncode == 0 else (errors or ["pip failed"])[-1]


def _found(version: str) -> str | None:
    """Return a Python of a version that works."""
    if not version:
        return sys.executable
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for one in (
        os.environ.get("SONGBAG_BENCH_PYTHON"),
        sys.executable,
        shutil.which(f"python{version}"),
        *map(str, pyenv),
    ):
        if one and _version_of(one) == version:
            return one
    return None


def _version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()
