"""Songs and stores made on the spot, for the tests of all three packages."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import write_part
from songbag_store.format.encoding import encode
from songbag_store.format.index import REPLACES, index_schema
from songbag_store.windows.writer import WindowSpill, write_fragment
from tests.support import objects

Windows = npt.NDArray[np.float32]
MakeStore = Callable[..., SongStore]

AUDIO = Path(__file__).parents[2] / "shared" / "audio"
"""Real recordings beside the checkout, used where present."""


def songbag(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "songbag_store", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


def fill(store: SongStore, songs: Mapping[str, Windows], columns: Mapping[str, list[Any]] | None = None) -> str:
    """Write songs as one fragment with its part, as a worker does, without committing; return the fragment."""
    fragment = uuid.uuid4().hex
    rows, start = [], 0
    with WindowSpill(store.spec) as spill:
        for position, (song_id, windows) in enumerate(songs.items()):
            spill.append(encode(windows, store.spec))
            spill.end_song()
            user = {name: values[position] for name, values in (columns or {}).items()}
            rows.append(_row(song_id, fragment, start, windows) | user)
            start += len(windows)
        objects = write_fragment(store.storage, fragment, store.spec, spill)
    fields = [pa.field(name, pa.array(values).type) for name, values in (columns or {}).items()]
    table = pa.Table.from_pylist(rows, schema=index_schema(fields))
    part = table.append_column(REPLACES, pa.nulls(len(rows), pa.string()))
    write_part(store.storage, store.uuid, store.spec, fragment, part, objects)
    return fragment


def _row(song_id: str, fragment: str, start: int, windows: Windows) -> dict[str, Any]:
    return {
        "song_id": song_id,
        "path": f"/music/{song_id}",
        "status": "ok",
        "duration_s": 2.5 + 2.5 * len(windows),
        "content_sha256": f"{abs(hash(song_id)):064x}",
        "fragment": fragment,
        "row_start": start,
        "n_windows": len(windows),
        "feature_sum": windows.sum(axis=(0, 2), dtype=np.float64).tolist(),
        "feature_sumsq": np.square(windows, dtype=np.float64).sum(axis=(0, 2)).tolist(),
        "run_id": "test",
    }


def sixteenths(rng: np.random.Generator, n_windows: int, shape: tuple[int, int]) -> Windows:
    """Windows of random multiples of 1/16, which the int16 encoding keeps exactly."""
    return (rng.integers(-800, 800, (n_windows, *shape)) / 16).astype(np.float32)


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Write songs to a new store in one commit: ``make_store({"a": windows}, {"label": ["x"]})``."""

    def make(
        songs: Mapping[str, Windows],
        columns: Mapping[str, list[Any]] | None = None,
        spec: FeatureSpec | None = None,
        name: str = "store",
    ) -> SongStore:
        from songbag_store.commits.parts import read_part

        store = SongStore.open_for_writing(tmp_path / name, spec or FeatureSpec())
        fragment = fill(store, songs, columns)
        return store.commit_parts({fragment: read_part(store.storage, store.uuid, store.spec, fragment)})

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(17)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `songbag demo` leaves behind; made once for all processes of a run, not to be written to."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "demo-is-whole").exists():
            done = songbag("demo", shared / "demo")
            assert done.returncode == 0, done.stdout + done.stderr
            (shared / "demo-is-whole").touch()
    return shared / "demo"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a real S3 server process with the bucket `tests.support.objects.BUCKET`."""
    with objects.s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_url() -> str:
    """An address in that bucket where nothing is yet."""
    return f"s3://{objects.BUCKET}/{uuid.uuid4().hex}/store"
