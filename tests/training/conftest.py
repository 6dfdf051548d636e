"""A small store and one run trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.progress import Silent
from songbag_training import TrainConfig, train
from songbag_training.evaluation.predictions import Scorer
from songbag_training.runs.document import RUN
from songbag_training.runs.run import Run
from tests.support import labelled
from tests.support.labelled import Song
from tests.support.once import made_once

MakeStore = Callable[..., SongStore]


@pytest.fixture(scope="session")
def spec() -> FeatureSpec:
    return labelled.SPEC


@pytest.fixture(scope="session")
def make_store() -> MakeStore:
    return labelled.write_store


@pytest.fixture(scope="session")
def songs_of_classes() -> Callable[..., list[Song]]:
    return labelled.songs_of_classes


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: MakeStore, songs_of_classes: Any) -> SongStore:
    """Return a store of 36 songs in three classes."""
    songs = songs_of_classes({"folk": 12, "jazz": 12, "rock": 12})
    return SongStore.open(made_once(tmp_path_factory, "store-of-classes", lambda folder: make_store(folder, songs)))


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory, make_store: MakeStore) -> SongStore:
    """Return a store of songs of any number of three classes."""
    folder = tmp_path_factory.mktemp("tagged") / "store"
    return make_store(folder, labelled.tagged_songs(), label_type=pa.list_(pa.string()))


@pytest.fixture(scope="session")
def quick() -> TrainConfig:
    return TrainConfig(epochs=8, bag_size=4, batch_size=8, learning_rate=0.01, no_floor=True, members=1)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, store: SongStore, quick: TrainConfig) -> Run:
    """Return a finished run on that store; tests that change it take a copy."""

    def make(folder: Path) -> None:
        train(store, "label", folder, config=quick, progress=Silent())

    return Run.open(made_once(tmp_path_factory, "run-on-classes", make))


@pytest.fixture(scope="session")
def loaded() -> dict[bytes, Scorer]:
    """What `loaded_once` has loaded, by the bytes it was loaded from."""
    return {}


@pytest.fixture
def loaded_once(loaded: dict[bytes, Scorer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Load runs of the same bytes once for all tests that ask for this: to build and trace a network takes a second."""
    load = Run.load_scorer

    def load_scorer(run: Run) -> Scorer:
        own = (run.folder / RUN).read_bytes() + run.weights_path.read_bytes()
        if own not in loaded:
            loaded[own] = load(run)
        return loaded[own]

    monkeypatch.setattr(Run, "load_scorer", load_scorer)
