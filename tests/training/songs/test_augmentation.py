from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from songbag_pipeline import window_features
from songbag_store import FeatureSpec
from songbag_training import TrainConfig
from songbag_training.config import AUGMENTATIONS
from songbag_training.songs.augmentation import (
    augmentation,
    drop_windows,
    level_change,
    mask_bands,
    mask_frames,
    mix_bags,
    roll_frames,
    shift_levels,
)

SPEC = FeatureSpec(
    sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, n_mfcc=10, window_s=0.5, window_hop_s=0.25
)
B, K, C, T = 6, 4, 10, 16
OFF = TrainConfig(seed=7, **dict.fromkeys(AUGMENTATIONS, 0.0))
ALL = dataclasses.replace(
    OFF,
    mixup=0.3,
    gain_db=6.0,
    equalizer_db=4.0,
    band_shift=0.1,
    band_mix=0.5,
    time_shift=1.0,
    time_mask=0.3,
    band_mask=0.3,
    window_dropout=0.3,
)
SEED = tf.constant([3, 5], tf.int64)
EYE = np.eye(B, dtype=np.float32)
BLANK = tf.constant(np.linspace(-9, 9, C, dtype=np.float32)[:, None])


def windows(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 20, (B, K, C, T)).astype(np.float32)


def batches(n: int, *, spec: FeatureSpec = SPEC, labels: Any = None) -> tf.data.Dataset:
    """Return `n` batches; those of numbers 1 and 2 are equal, so that only what is drawn can tell them apart."""
    stored = np.stack([np.round(windows(number // 2) * 16).astype(spec.encoding) for number in range(n)])
    mask = np.ones((n, B, K), np.float32)
    mask[:, 0, 1:] = 0
    own = np.tile(np.arange(B) % 3, (n, 1)).astype(np.int32) if labels is None else labels
    return tf.data.Dataset.from_tensor_slices(({"windows": stored, "mask": mask}, own))


def change(data: tf.data.Dataset, what: TrainConfig = ALL, first: int = 0, n_logits: int = 3) -> list[Any]:
    changed = augmentation(what, spec=SPEC, mean=np.zeros(C, np.float32), n_logits=n_logits)
    return list(changed(data, first).as_numpy_iterator())


def test_without_any_change_the_batches_are_passed_on_untouched() -> None:
    data = batches(2)
    assert augmentation(OFF, spec=SPEC, mean=np.zeros(C), n_logits=3)(data, 0) is data


def test_batches_are_a_function_of_seed_and_number_alone() -> None:
    whole, rest = change(batches(4)), change(batches(4).skip(2), first=2)
    for one, same in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one[0]["windows"], same[0]["windows"])
        np.testing.assert_array_equal(one[0]["mask"], same[0]["mask"])
        np.testing.assert_array_equal(one[1], same[1])


def test_the_same_songs_are_changed_otherwise_in_another_batch_and_with_another_seed() -> None:
    first, again = change(batches(2))
    other = change(batches(2), dataclasses.replace(ALL, seed=8))[0]
    assert (first[0]["windows"] != again[0]["windows"]).any()
    assert (first[0]["windows"] != other[0]["windows"]).any()


def test_each_member_has_a_copy_of_every_bag_that_is_changed_by_itself() -> None:
    (features, labels), *_ = change(batches(1), dataclasses.replace(OFF, members=3))
    (before, numbers), *_ = list(batches(1).as_numpy_iterator())
    np.testing.assert_array_equal(features["windows"], np.repeat(before["windows"], 3, axis=0))
    np.testing.assert_array_equal(features["mask"], np.repeat(before["mask"], 3, axis=0))
    np.testing.assert_array_equal(labels, np.repeat(numbers, 3))
    (features, _), *_ = change(batches(1), dataclasses.replace(OFF, members=3, time_shift=1.0))
    assert (features["windows"][::3] != features["windows"][1::3]).any()


def test_windows_keep_the_type_they_are_stored_as() -> None:
    assert change(batches(1))[0][0]["windows"].dtype == np.int16


def test_only_masks_are_drawn_anew_where_only_masks_are_on() -> None:
    (features, labels), *_ = change(batches(1), dataclasses.replace(OFF, band_mask=0.5))
    (before, numbers), *_ = list(batches(1).as_numpy_iterator())
    np.testing.assert_array_equal(labels, numbers)
    np.testing.assert_array_equal(features["mask"], before["mask"])
    changed = (features["windows"] != before["windows"]).any(axis=3)
    assert changed.any()
    assert not changed.all()
    assert (features["windows"][changed] == 0).all()


@pytest.mark.parametrize(("n_classes", "width"), [(3, 3), (2, 1)])
def test_mixed_labels_are_shares(n_classes: int, width: int) -> None:
    numbers = np.arange(B, dtype=np.int32)[None] % n_classes
    (_, labels), *_ = change(batches(1, labels=numbers), n_logits=width)
    assert labels.shape == (B, width)
    assert (labels >= 0).all()
    assert (labels <= 1).all()
    assert width == 1 or np.allclose(labels.sum(axis=1), 1)


def test_labels_of_several_classes_are_mixed_as_they_are() -> None:
    several = np.random.default_rng(1).integers(0, 2, (1, B, 3)).astype(np.float32)
    (_, labels), *_ = change(batches(1, labels=several))
    assert labels.shape == (B, 3)
    assert (labels <= several[0].max(axis=0)).all()


def test_rolling_keeps_each_frame_whole() -> None:
    before, after = windows(), roll_frames(windows(), 1.0, SEED).numpy()
    assert (before != after).any()
    for one, rolled in zip(before.reshape(-1, C, T), after.reshape(-1, C, T), strict=True):
        assert any(np.array_equal(np.roll(one, shift, axis=1), rolled) for shift in range(T + 1))


def test_mixing_takes_the_same_share_of_windows_and_labels_and_leaves_at_least_half() -> None:
    # Each bag is constant, so that a mixed value tells both bags and the share.
    levels = np.arange(B, dtype=np.float32) ** 2
    bags = np.broadcast_to(levels[:, None, None, None], (B, K, C, T))
    mixed, mask, shares = (part.numpy() for part in mix_bags(bags, np.ones((B, K), np.float32), EYE, 0.5, SEED))
    np.testing.assert_allclose(mixed, np.broadcast_to((shares @ levels)[:, None, None, None], mixed.shape), atol=1e-4)
    assert (np.diag(shares) >= 0.5).all()
    assert (np.diag(shares) < 1).any()
    assert mask.all()


def test_a_window_that_has_no_partner_is_not_mixed_with_padding() -> None:
    bags = np.ones((2, K, C, T), np.float32) * np.array([1.0, 2.0], np.float32)[:, None, None, None]
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], np.float32)
    bags[mask == 0] = np.float32(1e9)
    for number in range(8):
        mixed, real, _ = mix_bags(bags, mask, EYE[:2, :2], 0.5, tf.constant([0, number], tf.int64))
        assert mixed.numpy()[real.numpy() > 0].max() < 3
        assert real.numpy()[:, 2:].max() == 0


def test_a_run_of_frames_is_blanked_out_in_all_coefficients() -> None:
    before, after = windows(), mask_frames(windows(), BLANK, 0.5, SEED).numpy()
    blank = (after == BLANK.numpy()).all(axis=2)
    assert blank.sum(axis=-1).max() == 8
    assert (np.abs(np.diff(blank.astype(int), axis=-1)).sum(axis=-1) <= 2).all()
    np.testing.assert_array_equal(np.where(blank[:, :, None, :], before, after), before)


def test_a_run_of_bands_is_blanked_out_in_every_channel() -> None:
    blank = (mask_bands(windows(), BLANK, 0.6, 2, SEED).numpy() == BLANK.numpy()).all(axis=3)
    np.testing.assert_array_equal(blank[..., : C // 2], blank[..., C // 2 :])
    assert blank.sum(axis=-1).max() == 6


def test_masks_of_a_whole_window_leave_nothing_of_it_at_times() -> None:
    blank = (mask_frames(windows(), BLANK, 1.0, SEED).numpy() == BLANK.numpy()).all(axis=(2, 3))
    assert not blank.all()


def test_dropping_windows_leaves_every_bag_at_least_one_of_its_own() -> None:
    mask = np.zeros((200, K), np.float32)
    for song in range(200):
        mask[song, : 1 + song % K] = 1
    left = drop_windows(mask, 0.9, SEED).numpy()
    assert (left <= mask).all()
    assert (left.sum(axis=1) >= 1).all()
    assert left.sum() < mask.sum() / 2


@pytest.mark.parametrize("options", [{"kind": "logmel"}, {"n_mfcc": 13}, {"kind": "logmel", "deltas": 1}])
def test_a_shift_of_level_is_what_a_louder_recording_would_have_changed(options: dict[str, Any]) -> None:
    spec = FeatureSpec(encoding="float32", **options)
    samples = np.random.default_rng(0).normal(0, 0.01, spec.window_samples).astype(np.float32)
    louder = window_features(samples * np.float32(10 ** (6 / 20)), spec) - window_features(samples, spec)
    np.testing.assert_allclose(louder[0], np.broadcast_to(6 * level_change(spec)[:, None], louder[0].shape), atol=0.02)


def test_all_windows_of_a_song_are_shifted_alike_and_songs_differently() -> None:
    shifts = shift_levels(tf.ones((C, 1)), 500, 6.0, SEED).numpy()
    assert shifts.shape == (500, 1, C, 1)
    assert abs(shifts[:, 0, 0, 0].std() - 6) < 0.6
