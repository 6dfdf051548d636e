"""Songs and stores made on the spot, for the tests of all three packages."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.writer import commit_parts, open_for_writing
from tests.support import objects
from tests.support.command import foreign, songbag, songbag_here
from tests.support.once import made_once
from tests.support.stores import MakeStore, Windows, fill

# Several processes test at once: in each, a second thread for an operation of TensorFlow would only wait for a core.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# A shell that is not interactive starts background work with Ctrl-C ignored, and all children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may depend on how quick the machine is.
settings.register_profile("songbag", deadline=None)
settings.load_profile("songbag")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long where another process can do the rest meanwhile.

    The modules that use the demo come first, so that one process makes it while others run the other tests: at the end,
    all would wait for it. The modules of runs mostly wait for workers. The last process begins with them, as each
    begins with an equal share of the tests in their order.
    """
    demo = {item.path for item in items if "demo" in getattr(item, "fixturenames", ())}
    first = [item for item in items if item.path in demo]
    waiting = [item for item in items if item.path not in demo and item.path.parent.match("pipeline/run")]
    taken = {*first, *waiting}
    rest = [item for item in items if item not in taken]
    n_processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    place = max(0, len(items) * (n_processes - 1) // n_processes - len(first))
    items[:] = [*first, *rest[:place], *waiting, *rest[place:]]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Write songs to a new store in one commit: ``make_store({"a": windows}, {"label": ["x"]})``."""

    def make(
        songs: Mapping[str, Windows],
        columns: Mapping[str, list[Any]] | None = None,
        spec: FeatureSpec | None = None,
        name: str = "store",
    ) -> SongStore:
        store = open_for_writing(tmp_path / name, spec or FeatureSpec())
        fragment = fill(store, songs, columns)
        return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `songbag demo` leaves behind; made once for all processes of a run, not to be written to.

    What the demo printed is beside it, in ``demo.txt``.
    """

    def make(folder: Path) -> None:
        done = songbag("demo", folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert foreign(done.stderr) == ""
        (folder.parent / "demo.txt").write_text(done.stdout)

    return made_once(tmp_path_factory, "demo", make)


@pytest.fixture(scope="session")
def quick_run(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the demo's store with one network, for what would load the three of the demo's run and their trees."""

    def make(folder: Path) -> None:
        options = ("--members", "1", "--epochs", "1", "--bag-size", "2", "--no-floor")
        done = songbag_here("train", demo / "store", "--label", "label", "-o", folder, *options)
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "quick-run", make)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a real S3 server process with the bucket `tests.support.objects.BUCKET`."""
    with objects.s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_url() -> str:
    """An address in that bucket where nothing is yet."""
    return f"s3://{objects.BUCKET}/{uuid.uuid4().hex}/store"
