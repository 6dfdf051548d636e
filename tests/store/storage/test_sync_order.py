"""What reaches the disk before what, as the kernel sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from songbag_store import SongStore
from songbag_store.format.keys import snapshot_key
from songbag_store.format.sealed import Sealed
from songbag_store.writer import open_for_writing
from tests.support.patience import PATIENCE_S
from tests.support.songs import SPEC

ROOT = Path(__file__).parents[3]


@pytest.fixture
def trace(tmp_path: Path) -> tuple[Path, list[str]]:
    """A store made by a writer process, and the system calls by which it was made, in their order."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    store, log = tmp_path / "store", tmp_path / "trace"
    open_for_writing(store, SPEC)
    calls = "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,openat,mkdir"
    command = ["strace", "-f", "-y", "-s", "4096", "-e", calls, "-o", str(log)]
    command += [sys.executable, "-m", "tests.support.writer_process", str(store), "{}", "1", "12"]
    done = subprocess.run(
        command, input="\n", capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    return store, log.read_text().splitlines()


def positions(lines: list[str], pattern: str) -> list[int]:
    return [number for number, line in enumerate(lines) if re.search(pattern, line)]


@pytest.mark.fault(48)
def test_every_object_that_a_snapshot_names_is_synced_before_the_link_of_the_snapshot(
    trace: tuple[Path, list[str]],
) -> None:
    path, lines = trace
    store = SongStore.open(path)
    checked = 0
    seen: frozenset[str] = frozenset()
    for number in store.snapshots():
        (linked,) = positions(lines, rf'link(at)?\(.*"{re.escape(str(path / snapshot_key(number)))}"')
        parts = SongStore.open(path, snapshot=number).inside.state.parts
        for fragment in parts - seen:
            part = path / "parts" / f"{fragment}.parquet"
            (part_linked,) = positions(lines, rf'link(at)?\(.*"{re.escape(str(part))}"')
            folders_synced = positions(lines, rf"fsync\(\d+<{re.escape(str(part.parent))}>")
            assert any(part_linked < at < linked for at in folders_synced)
            facts = Sealed(part.read_bytes(), key="", place="").facts
            assert len(facts["objects"]) >= 2
            for key in facts["objects"]:
                file = path / key
                assert max(positions(lines, rf"fsync\(\d+<{re.escape(str(file))}>")) < part_linked
                for folder in file.parents:
                    synced = positions(lines, rf"fsync\(\d+<{re.escape(str(folder))}>")
                    assert any(at < part_linked for at in synced)
                    if folder == path:
                        break
                checked += 1
        seen = parts
    assert checked >= 4


@pytest.mark.fault(48)
def test_every_link_is_of_a_synced_file_and_is_followed_by_a_sync_of_its_folder(
    trace: tuple[Path, list[str]],
) -> None:
    path, lines = trace
    pairs = [re.search(r'\blink(?:at)?\(.*?"([^"]+)".*?"([^"]+)"', line) for line in lines]
    # zarr-python links and renames inside a fragment that nobody can see yet.
    links = [pair for pair in pairs if pair and pair[2].startswith(f"{path}/") and "features.zarr" not in pair[2]]
    assert len(links) >= 4
    for match in links:
        temporary, name = match.groups()
        (at,) = positions(lines, re.escape(match[0]))
        assert any(n < at for n in positions(lines, rf"fsync\(\d+<{re.escape(temporary)}>"))
        folder = re.escape(str(Path(name).parent))
        assert any(n > at for n in positions(lines, rf"fsync\(\d+<{folder}>"))
    assert all("features.zarr" in lines[n] for n in positions(lines, rf'\brename.*"{re.escape(str(path))}/'))
