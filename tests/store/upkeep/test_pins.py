"""Tags of runs that are gone: listed, and released by gc."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from songbag_store import FeatureSpec, SongStore
from songbag_store.cli.upkeep import commands
from songbag_store.errors import UsageError
from songbag_store.upkeep.change import remove
from songbag_store.upkeep.garbage import gc
from songbag_store.upkeep.pins import lost_pins, pins_text
from tests.support.ages import commit_days_ago, rewrite_as_old, stamp_days_ago
from tests.support.stores import MakeStore, sixteenths

RUN, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def store(make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    """Snapshot 1 has songs that no later one has; 1 to 4 are too old to be kept."""
    store = make_store({name: sixteenths(rng, 1, FeatureSpec().window_shape) for name in "abc"})
    removed, _ = remove(store, "true")
    rewrite_as_old(removed, [1, 2])
    commit_days_ago(removed, 60, 12)
    stamp_days_ago(store, 100)
    return SongStore.open(store.address, snapshot=1)


def make_run(folder: Path, run_id: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"run_id": run_id}))
    return folder


def pinned_by(store: SongStore, folder: Path, run_id: str = RUN, **more: str) -> None:
    store.tag(f"run-{run_id}", {"run": str(folder), "label": "genre", **more})


def lost(store: SongStore) -> list[tuple[int, str, str]]:
    return [(pin.snapshot, pin.tag, pin.folder) for pin in lost_pins(store.inside.storage)]


@pytest.mark.fault(114)
def test_the_pin_of_a_run_that_is_there_is_kept_and_that_of_a_deleted_one_is_listed(
    store: SongStore, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", RUN)
    pinned_by(store, folder)
    assert lost(store) == []
    shutil.rmtree(folder)
    assert lost(store) == [(1, f"run-{RUN}", str(folder))]


@pytest.mark.fault(114)
def test_the_pin_of_a_run_whose_folder_another_run_has_taken_is_listed(store: SongStore, tmp_path: Path) -> None:
    pinned_by(store, make_run(tmp_path / "run", RUN))
    make_run(tmp_path / "run", OTHER)
    assert lost(store) == [(1, f"run-{RUN}", str(tmp_path / "run"))]


@pytest.mark.fault(114)
def test_what_a_user_tagged_or_another_run_needs_is_not_listed(store: SongStore, tmp_path: Path) -> None:
    pinned_by(store, tmp_path / "gone")
    pinned_by(store, make_run(tmp_path / "run", OTHER), OTHER)
    assert lost(store) == []
    pinned_by(store.at(13), tmp_path / "gone too", "c" * 32)
    assert [number for number, _, _ in lost(store)] == [13]
    store.at(13).tag("paper", {"run": 7})
    assert lost(store) == []


@pytest.mark.fault(114)
@pytest.mark.parametrize("text", ["", "nonsense", "[]"])
def test_a_run_that_cannot_be_read_counts_as_there(store: SongStore, tmp_path: Path, text: str) -> None:
    folder = make_run(tmp_path / "run", RUN)
    (folder / "run.json").write_text(text)
    pinned_by(store, folder)
    assert lost(store) == []


@pytest.mark.fault(114)
def test_released_pins_go_and_with_them_what_only_they_kept(store: SongStore, tmp_path: Path) -> None:
    pinned_by(store, tmp_path / "gone")
    stamp_days_ago(store, 100)
    assert gc(store.at()).snapshots == (2, 3, 4)
    release = [f"run-{RUN}"]
    before = {entry.key for entry in store.inside.storage.entries("")}
    assert gc(store.at(), release=release).snapshots == (1, 2, 3, 4)
    assert {entry.key for entry in store.inside.storage.entries("")} == before
    garbage = gc(store.at(), release=release, yes=True)
    assert garbage.snapshots == (1, 2, 3, 4)
    assert any(entry.key.startswith("features.zarr/") for entry in garbage.objects)
    assert lost(store) == []
    with pytest.raises(UsageError, match="there is no tag 'run-"):
        gc(store.at(), release=release)


@pytest.mark.fault(114)
@pytest.mark.parametrize("name", ["../store", "store.json", "*", ""])
def test_only_a_tag_that_is_there_can_be_released(store: SongStore, name: str) -> None:
    store.tag("paper")
    with pytest.raises(UsageError, match="there is no tag"):
        gc(store.at(), release=["paper", name], yes=True)
    assert SongStore.open(store.address, snapshot=1).snapshot == 1


def test_a_run_of_another_machine_is_said_to_be_of_it(store: SongStore, tmp_path: Path) -> None:
    pinned_by(store, tmp_path / "here", host=platform.node())
    pinned_by(store, tmp_path / "there\x1b[31m", OTHER, host="node17")
    text = pins_text(lost_pins(store.inside.storage), "my store")
    assert f"  snapshot 1: run-{RUN} ({tmp_path / 'here'})\n" in text
    assert "there\\x1b[31m, made on node17)" in text
    assert f"songbag gc 'my store' --release run-{RUN} --release run-{OTHER}" in text


def songbag(*words: str) -> str:
    """Return what a command prints, in this process."""
    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.fault(114)
def test_history_lists_lost_pins_and_the_command_it_names_releases_them(store: SongStore, tmp_path: Path) -> None:
    pinned_by(store, tmp_path / "gone")
    stamp_days_ago(store, 100)
    said = songbag("history", store.address)
    assert f"  snapshot 1: run-{RUN} ({tmp_path / 'gone'})" in said
    dry = songbag(*said.splitlines()[-1].partition("songbag ")[2].split())
    assert f"tags to release: run-{RUN}" in dry
    done = songbag(*dry.splitlines()[-1].partition("songbag ")[2].split())
    assert "snapshots deleted: 1, 2, 3, 4" in done
    assert "run-" not in songbag("history", store.address)
