from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from songbag_store import SongStore
from songbag_training import BagDataset
from songbag_training.errors import NonFiniteLoss
from songbag_training.fit.guard import FINITE_STEPS, FiniteSteps, LossGuard


@pytest.fixture
def guard(store: SongStore, tmp_path: Path) -> LossGuard:
    ids = store.songs(arrow=True)["song_id"].to_pylist()
    guard = LossGuard(BagDataset(store, ids, [0] * len(ids), batch_size=12), tmp_path)
    guard.on_epoch_begin(4)
    return guard


def test_a_finite_loss_passes(guard: LossGuard) -> None:
    guard.on_train_batch_end(1, {"loss": 3.0})
    guard.on_epoch_end(4, {"loss": 3.0, "val_loss": 2.0})


def test_the_songs_of_the_step_are_named(guard: LossGuard) -> None:
    with pytest.raises(NonFiniteLoss, match="step 2 of epoch 5") as caught:
        guard.on_train_batch_end(1, {"loss": float("inf")})
    assert len(caught.value.song_ids) == 12


def test_a_validation_loss_that_is_not_finite_is_laid_to_the_last_step(guard: LossGuard) -> None:
    with pytest.raises(NonFiniteLoss, match="step 3 of epoch 5"):
        guard.on_epoch_end(4, {"loss": 1.0, "val_loss": float("nan")})


@pytest.mark.fault(83)
def test_weights_kept_before_are_mentioned(guard: LossGuard, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    with pytest.raises(NonFiniteLoss, match="best epoch so far are kept"):
        guard.on_train_batch_end(0, {"loss": float("nan")})


def test_of_several_steps_at_once_the_first_bad_one_is_named(guard: LossGuard) -> None:
    with pytest.raises(NonFiniteLoss, match="step 2 of epoch 5"):
        guard.on_train_batch_end(2, {"loss": float("nan"), FINITE_STEPS: 1.0})


def test_steps_are_counted_up_to_the_first_bad_loss() -> None:
    counted = FiniteSteps(keras.losses.MeanSquaredError())
    zeros = np.zeros((2, 1), np.float32)
    for value in (1.0, 2.0, np.nan, 3.0):
        counted.update_state(zeros, zeros + np.float32(value))
    assert float(counted.result()) == 2
    counted.reset_state()
    counted.update_state(zeros, zeros)
    assert float(counted.result()) == 1
