"""What is made once for all processes of a run of tests, as it takes seconds to make and no test writes to it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder; the first process that asks for it makes it, and the others wait for that.

    Parameters
    ----------
    tmp_path_factory : pytest.TempPathFactory
        Of the process that asks.
    name : str
        Of the folder.
    make : callable
        Makes the folder, which is not there yet.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    whole = folder.with_name(f"{name}-is-whole")
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            make(folder)
            whole.touch()
    return folder
