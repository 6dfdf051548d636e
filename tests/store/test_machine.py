"""Machines that do not run Linux: what works there, and how the rest is refused. A process plays such a machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from tests.support.patience import PATIENCE_S
from tests.support.stores import MakeStore, sixteenths

SPEC = FeatureSpec(window_s=0.5, n_mels=40)
PLAY = """
import json, os, sys
# These look at the system when they are loaded.
import multiprocessing.connection
import tempfile
import duckdb, obstore, pandas, pyarrow.csv, pyarrow.dataset, pyarrow.parquet, rich.progress, typer, zarr
system, store = sys.argv[1:]
lacking = "sched_getaffinity sched_setscheduler sched_param SCHED_IDLE memfd_create posix_fallocate posix_fadvise"
lacking += " copy_file_range sendfile splice pipe2 eventfd O_DIRECT O_PATH O_TMPFILE"
if system == "win32":
    lacking += " pread preadv pwrite O_NONBLOCK O_CLOEXEC O_NOFOLLOW getuid nice fork"
    sys.modules |= {"fcntl": None, "resource": None}
else:
    import fcntl
    del fcntl.F_SETSIG
for name in lacking.split():
    if hasattr(os, name):
        delattr(os, name)
tempfile._O_TMPFILE_WORKS = False
sys.platform = system
import songbag

def outcome(function, *arguments):
    try:
        return function(*arguments)
    except songbag.SongbagError as error:
        return f"{type(error).__name__}: {error}"

def read():
    opened = songbag.open(store)
    bags = opened.bags(bag_size=4, batch_size=8).batches(stop_epoch=1)
    n_songs = opened.sql("select count(*) n from songs")["n"].tolist()
    return [n_songs, opened.windows("07").shape[0], len(list(bags)), songbag.info(opened)["songs"]]

print(json.dumps([outcome(read), outcome(songbag.extract, "songs", store)]))
from songbag_store.cli.root import main
sys.argv = ["songbag", "extract", "songs", store]
main()
"""


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    return make_store({f"{n:02}": sixteenths(rng, 1 + n, SPEC.window_shape) for n in range(20)}, spec=SPEC)


def play(system: str, store: SongStore) -> tuple[list[Any], str]:
    """Return what reading and extracting do on another system, and the last words of the command `extract`."""
    command = [sys.executable, "-c", PLAY, system, store.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout), done.stderr


def test_on_macos_stores_are_read_and_extract_says_that_it_needs_linux(store: SongStore) -> None:
    (read, extracted), said = play("darwin", store)
    assert read == [[20], 8, 3, 20]
    assert extracted.startswith(
        "UnsupportedSystem: extract: needs Linux, and this system is darwin.\n  On macOS, stores"
    )
    assert said == f"songbag: {extracted.removeprefix('UnsupportedSystem: ')}\n"


def test_on_windows_every_use_names_wsl(store: SongStore) -> None:
    (read, extracted), said = play("win32", store)
    assert f"{store.address}: needs Linux or macOS, and this system is win32.\n  On Windows, use WSL" in read
    assert extracted.startswith("UnsupportedSystem: extract: needs Linux")
    assert Path(store.address).name in read
    assert "use WSL" in said
