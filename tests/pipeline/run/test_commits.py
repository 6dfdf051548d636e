"""The commits of one run."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from songbag_pipeline import extract
from songbag_pipeline.run import shares
from songbag_pipeline.run.config import ExtractConfig
from songbag_pipeline.run.work import Work
from songbag_store import FeatureSpec, SongStore
from songbag_store.commits import waiting
from songbag_store.commits.history import read_events
from songbag_store.errors import StoreError
from songbag_store.progress import Silent
from songbag_store.storage.location import Location
from songbag_store.upkeep.garbage import gc
from songbag_store.upkeep.verify import verify
from tests.support.audio import chirp, write
from tests.support.listings import Listings, contents
from tests.support.long import LONG
from tests.support.stores import MakeStore, fill, sixteenths

SPEC = FeatureSpec(window_s=0.5)


@pytest.mark.fault(100)
def test_an_extract_stops_at_each_listing_of_its_store_that_fails(
    tmp_path: Path, make_store: MakeStore, rng: np.random.Generator
) -> None:
    store = make_store({"a.wav": sixteenths(rng, 1, SPEC.window_shape)}, spec=SPEC)
    fill(store, {"waits.wav": sixteenths(rng, 1, SPEC.window_shape)})
    write(tmp_path / "songs" / "new.wav", chirp(1.0))
    run, folder = extract if LONG else Work.of, Path(store.address)
    arguments = tmp_path / "songs", Location(store.address), SPEC, ExtractConfig(workers=1)
    shutil.copytree(folder, tmp_path / "kept")
    with Listings(folder) as counted:
        run(*arguments)
    assert len(counted.listed) > 2
    for number, _ in enumerate(counted.listed):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
        code = (errno.EACCES, errno.EIO, errno.ESTALE)[number % 3]
        with Listings(folder, number, code), pytest.raises(StoreError, match="cannot be listed"):
            run(*arguments)
        after = contents(folder)
        assert contents(tmp_path / "kept").items() <= after.items()


@pytest.mark.fault(114)
def test_a_run_says_which_snapshots_are_its_own_and_which_is_the_last_so_gc_keeps_only_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing: ExtractConfig
) -> None:
    for number in range(4):
        write(tmp_path / "songs" / f"{number}.wav", chirp(1.0, seed=number))
    # A batch for each song, and a commit after each batch.
    monkeypatch.setattr(shares, "_SMALLEST_S", 0.1)
    monkeypatch.setattr(waiting, "_EVERY_S", 0.0)
    monkeypatch.setattr(waiting, "_MOST_OF_TIME", 1e9)
    summary = extract(tmp_path / "songs", tmp_path / "store", SPEC, standing, progress=Silent())
    store = SongStore.open(tmp_path / "store")
    (run_id,) = set(store.songs()["run_id"])
    events = read_events(store.inside.storage, store.uuid)
    assert len(events) > 1
    assert {event.run for event in events} == {run_id}
    assert [event.snapshot for event in events if event.ended] == [summary.snapshot] == [store.snapshot]
    assert gc(store, yes=True).snapshots == tuple(range(1, store.snapshot))
    assert store.snapshots() == [summary.snapshot]
    assert len(store.at().songs()) == 4
    assert verify(store.at(), full=True) == []
