from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from songbag_store import FeatureSpec
from songbag_training import TrainConfig
from songbag_training.config import AUGMENTATIONS
from songbag_training.fit.material import prepare
from songbag_training.runs.plan import Plan
from songbag_training.songs.augmentation import augmentation
from songbag_training.songs.colour import (
    dct,
    equalize,
    equalizer_curves,
    mix_bands,
    shift_bands,
)
from songbag_training.usual import FOR, NONE, TREE_SHARE, USUAL
from tests.support import labelled

B, K, C, T = 6, 4, 20, 16
LOGMEL = FeatureSpec(kind="logmel", sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=C, window_s=0.5)
MFCC = dataclasses.replace(LOGMEL, kind="mfcc", n_mfcc=C)
SEED = tf.constant([3, 5], tf.int64)
FULL = np.ones((B, K), np.float32)
ALL: dict[str, Any] = {"band_mix": 0.5, "band_shift": 0.1, "equalizer_db": 6.0}
OFF = TrainConfig(**dict.fromkeys(AUGMENTATIONS, 0.0))


def own(n_bands: int, n_frames: int = 1) -> FeatureSpec:
    """Return the spec of features of one's own, of one frame as those of embeddings."""
    names: dict[str, Any] = {"extractor": "m:f", "extractor_version": "1", "extractor_sha256": "0" * 64}
    return FeatureSpec(kind="own", own_bands=n_bands, own_frames=n_frames, **names)


def windows(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 20, (B, K, C, T)).astype(np.float32)


def as_mfcc(bands: Any, n_coefficients: int = C) -> Any:
    return np.einsum("cb,nkbt->nkct", dct(n_coefficients, C), bands)


def test_a_curve_over_bands_is_smooth_alike_in_all_frames_and_as_strong_as_is_asked_for() -> None:
    many = np.zeros((4000, 1, C, 2), np.float32)
    curves = equalize(many, equalizer_curves(LOGMEL), 6.0, SEED).numpy()[:, 0]
    np.testing.assert_array_equal(curves[..., 0], curves[..., 1])
    assert curves.std() == pytest.approx(6.0, rel=0.05)
    assert np.abs(np.diff(curves, axis=1)).mean() < 0.5 * np.abs(curves[:, ::-1] - curves).mean()
    assert np.abs(curves[0] - curves[1]).max() > 1


@pytest.mark.parametrize("n_mfcc", [C, 13, 2])
def test_what_an_equaliser_does_to_mfcc_is_what_it_does_to_their_bands(n_mfcc: int) -> None:
    spec = dataclasses.replace(MFCC, n_mfcc=n_mfcc)
    of_bands = as_mfcc(equalize(windows(), equalizer_curves(LOGMEL), 6.0, SEED).numpy(), n_mfcc)
    own = equalize(as_mfcc(windows(), n_mfcc), equalizer_curves(spec), 6.0, SEED)
    np.testing.assert_allclose(own, of_bands, atol=1e-3)


def test_bands_move_up_or_down_and_the_outermost_is_repeated() -> None:
    ramp = np.broadcast_to(np.arange(C, dtype=np.float32)[:, None], (B, K, C, T))
    moved = shift_bands(ramp, 3 / C, LOGMEL, SEED).numpy()
    shifts = moved[:, 0, C // 2, 0] - C // 2
    assert (np.abs(shifts) <= 3).all()
    assert len(set(shifts.round(3))) == B
    for song, shift in zip(moved, shifts, strict=True):
        wanted = np.clip(np.arange(C) + shift, 0, C - 1)
        np.testing.assert_allclose(song, np.broadcast_to(wanted[:, None], song.shape), atol=1e-4)


def test_deltas_and_mfcc_are_shifted_as_their_bands_are() -> None:
    both = dataclasses.replace(LOGMEL, kind="logmel", deltas=1)
    moved = shift_bands(np.concatenate([windows(), 2 * windows()], axis=2), 3 / C, both, SEED).numpy()
    np.testing.assert_allclose(moved[:, :, C:], 2 * moved[:, :, :C], atol=1e-3)
    of_bands = as_mfcc(shift_bands(windows(), 3 / C, LOGMEL, SEED).numpy())
    np.testing.assert_allclose(shift_bands(as_mfcc(windows()), 3 / C, MFCC, SEED), of_bands, atol=1e-2)


def test_a_song_is_given_mean_and_deviation_between_its_own_and_those_of_another() -> None:
    levels = np.arange(1, B + 1, dtype=np.float32)[:, None, None, None]
    bags = windows() * levels + 100 * levels
    mixed = mix_bands(bags, FULL, 1.0, 0.0, SEED).numpy()
    before, after = (np.stack([one.mean((1, 3)), one.std((1, 3))]) for one in (bags, mixed))
    assert (np.abs(after - before) > 0.5).any()
    assert (after >= before.min(axis=1, keepdims=True) - 0.05).all()
    assert (after <= before.max(axis=1, keepdims=True) + 0.05).all()
    # What is left of a song, without the two, is its own.
    shapes = [(one - one.mean((1, 3), keepdims=True)) / one.std((1, 3), keepdims=True) for one in (bags, mixed)]
    np.testing.assert_allclose(*shapes, atol=2e-3)


def test_padding_and_bands_that_do_not_vary_are_not_mixed_into_songs() -> None:
    bags, mask = windows(), FULL.copy()
    mask[::2, 1:] = 0
    loud = np.where(mask[:, :, None, None] > 0, bags, np.float32(1e6))
    real = mask > 0
    mixed = [mix_bands(one, mask, 1.0, 0.1, SEED).numpy()[real] for one in (loud, bags)]
    np.testing.assert_allclose(*mixed, atol=1e-3)
    bags[:, :, 3] = 7.0
    np.testing.assert_allclose(mix_bands(bags, FULL, 1.0, 0.1, SEED)[:, :, 3], 7.0, atol=1e-4)
    empty = mix_bands(bags, np.zeros_like(mask), 1.0, 0.1, SEED).numpy()
    assert np.isfinite(empty).all()


@pytest.mark.parametrize("name", USUAL)
def test_each_change_is_made_to_log_mel_and_mfcc_and_not_to_features_that_it_is_not_for(name: str) -> None:
    chroma = FeatureSpec(kind="chroma", sample_rate_hz=8000, n_fft=256, hop_length=256, window_s=0.5)
    embedding = own(6)
    for spec in (LOGMEL, MFCC, chroma, embedding):
        stored = np.round(np.random.default_rng(0).normal(0, 300, (B, K, *spec.window_shape))).astype(spec.encoding)
        data = tf.data.Dataset.from_tensors(({"windows": stored, "mask": FULL}, np.zeros(B, np.int32)))
        config = dataclasses.replace(OFF, **{name: ALL[name]})
        change = augmentation(config, spec=spec, mean=np.zeros(spec.window_shape[0]), n_logits=3)
        if spec in (chroma, embedding):
            assert change(data, 0) is data
            continue
        (features, _), *_ = change(data, 0).as_numpy_iterator()
        assert features["windows"].dtype == stored.dtype
        assert (features["windows"] != stored).any(), spec
        (again, _), *_ = change(data, 1).as_numpy_iterator()
        assert (again["windows"] != features["windows"]).any()


def test_what_changes_nothing_is_said(tmp_path: Path) -> None:
    spec = own(10, 16)
    store = labelled.write_store(tmp_path, labelled.songs_of_classes({"folk": 6, "jazz": 6}), spec=spec)
    material = prepare(store, "label", None, None, config=TrainConfig(**ALL))
    assert [note for note in material.notes if "changes nothing" in note] == [
        f"note: {name} changes nothing: it is for {FOR}" for name in USUAL
    ]
    assert not [note for note in prepare(store, "label", None, None, config=TrainConfig()).notes if "nothing" in note]


def test_an_open_option_is_settled_when_a_training_begins_and_off_in_one_that_was_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    off = TrainConfig(**NONE)
    begun = TrainConfig()
    assert off.settled(LOGMEL, 9) == begun
    monkeypatch.setitem(USUAL, "band_mix", 0.5)
    assert TrainConfig().settled(LOGMEL, 9).to_dict()["band_mix"] == 0.5
    assert dataclasses.replace(off, band_mix=0.2).settled(LOGMEL, 9).band_mix == 0.2
    embeddings = own(9)
    assert TrainConfig().settled(embeddings, 9).band_mix is None
    # What was open when a plan was made, before this was usual, stays off.
    assert begun.as_begun.settled(LOGMEL, 9) == begun
    assert TrainConfig().going_on(begun).settled(LOGMEL, 9) == begun
    assert TrainConfig().going_on(None).settled(LOGMEL, 9).band_mix == 0.5
    plan = Plan(
        store_uuid="", snapshot=1, label="", where=None, split_sha256="", folds=["1", "2"], config=begun, parent=None
    )
    assert (plan.network.as_begun.band_mix, plan.network.as_begun.members) == (0.0, 1)


def test_few_songs_have_several_members_and_trees() -> None:
    def taken(spec: FeatureSpec, n_songs: int, encoder: str = "compact", **options: Any) -> tuple[int, float]:
        config = TrainConfig(encoder=encoder, **options).settled(spec, n_songs)
        assert TrainConfig.from_dict(config.to_dict()) == config
        return config.n_members, config.tree_share or 0

    short, long = (FeatureSpec(kind="logmel", window_s=seconds) for seconds in (2.0, 2.1))
    assert taken(short, 1_000) == taken(long, 200) == taken(FeatureSpec(), 1, "spectral") == (3, TREE_SHARE)
    assert taken(short, 1_001) == taken(long, 201) == (1, 0)
    assert taken(short, 9, tree_share=0.0) == (3, 0)
    assert taken(FeatureSpec(), 1_000, "spectral") == (1, TREE_SHARE)
    assert taken(FeatureSpec(), 1_001, "spectral") == (1, 0)
    # Who gives a number of networks has these alone.
    assert taken(short, 9, members=1) == (1, 0)
    assert taken(long, 10**6, members=5) == (5, 0)
    assert taken(long, 10**6, members=5, tree_share=0.2) == (5, 0.2)
    for encoder in ("reference", "dense", "tests.support.nets:flat"):
        assert taken(short, 9, encoder) == (1, 0)
    assert taken(own(10, 300), 9) == (1, 0)
    from_one = TrainConfig(encoder="compact").settled(short, 9, members=1)
    assert (from_one.n_members, from_one.tree_share) == (1, None)
