from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from songbag_store import SongStore
from songbag_training import TrainConfig, train
from songbag_training.config import Sampling
from songbag_training.errors import ModelError
from songbag_training.songs.sampling import song_rates
from tests.support.epochs import Epochs

OF_CLASSES = np.repeat([0, 1, 2], [64, 16, 4])


def test_without_options_every_song_comes_once() -> None:
    assert song_rates(OF_CLASSES, "natural", None) is None


@pytest.mark.parametrize(
    ("sampling", "shares"), [("natural", [64, 16, 4]), ("sqrt", [8, 4, 2]), ("balanced", [1, 1, 1])]
)
@pytest.mark.parametrize("epoch_songs", [None, 21, 1000])
def test_classes_come_as_the_option_says(sampling: Sampling, shares: list[int], epoch_songs: int | None) -> None:
    rates = song_rates(OF_CLASSES, sampling, epoch_songs)
    rates = np.ones(84) if rates is None else rates
    of_classes = np.bincount(OF_CLASSES, rates)
    np.testing.assert_allclose(of_classes, np.array(shares) * (epoch_songs or 84) / sum(shares))
    assert all(len(set(rates[number == OF_CLASSES].tolist())) == 1 for number in range(3))


def test_a_song_of_several_classes_comes_as_its_rarest_asks_for() -> None:
    targets = np.zeros((20, 3), np.float32)
    targets[:16, 0] = targets[14:18, 1] = targets[17, 2] = 1
    rates = song_rates(targets, "balanced", None)
    assert rates is not None
    # Of the first class alone, of the first and the second, of the second alone, of the third too, of none.
    np.testing.assert_allclose(rates[[0, 15, 16, 17, 19]] / rates[0], [1, 4, 4, 16, 8])


@pytest.mark.parametrize("others", [{"class_weight": "balanced"}, {"thresholds": "cost:a>b=2"}])
def test_what_weighs_rare_classes_too_is_refused(others: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="rare classes come more often") as error:
        TrainConfig(sampling="sqrt", **others)  # type: ignore[arg-type]
    assert error.value.place == "sampling"


class Counting(Epochs):
    """Counts what is said of epochs."""

    def __init__(self) -> None:
        self.reached_at: list[float] = []

    def reached(self, done: float) -> None:
        self.reached_at.append(done)


def test_a_training_draws_as_many_songs_as_asked_for(store: SongStore, tmp_path: Path) -> None:
    config = TrainConfig(
        epochs=1,
        bag_size=2,
        batch_size=4,
        encoder="tests.support.nets:flat",
        no_floor=True,
        sampling="balanced",
        epoch_songs=42,
    )
    counting = Counting()
    run = train(store, "label", tmp_path / "run", config, checkpoint_s=0, progress=counting)
    assert run.facts.config == config.settled(store.spec, 42)
    assert len(counting.reached_at) == 11
