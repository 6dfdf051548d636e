"""Own features as int16, in steps that the extractor names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import zarr

from songbag_pipeline import ExtractConfig, extract, features_of
from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import SpecError
from songbag_store.format.array import UnencodableFeatures, decode, encode
from songbag_store.format.extractor import DECLARED
from songbag_store.progress import Silent
from songbag_store.upkeep.verify import verify
from tests.support.audio import chirp, write
from tests.support.extractors import levels

NAME = "tests.support.extractors"
LEVELS = FeatureSpec.custom(f"{NAME}:levels", window_s=0.5)


@pytest.mark.parametrize("step", [1 / 256, 0.01])
def test_an_extractor_that_names_a_step_is_stored_as_int16(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, DECLARED, dataclasses.replace(getattr(levels, DECLARED), step=step))
    spec = FeatureSpec.custom(f"{NAME}:levels", window_s=0.5)
    assert (spec.encoding, spec.step, spec.window_bytes) == ("int16", step, 4)
    assert spec.in_words().endswith(f"8,000 Hz, int16 in steps of {step:g}")
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
    exact = FeatureSpec.custom(f"{NAME}:levels", window_s=0.5, encoding="float32")
    assert len({one.fingerprint for one in (spec, exact, dataclasses.replace(spec, own_step=step / 2))}) == 3
    assert exact.fingerprint == dataclasses.replace(exact, own_step=None).fingerprint
    values = np.random.default_rng(0).uniform(-100, 100, (7, 2, 1)).astype(np.float32)
    assert np.abs(decode(encode(values, spec), spec) - values).max() <= step * 0.5001
    for most in (32767 * step, -32767 * step):
        edge = np.full((1, 2, 1), most, np.float32)
        np.testing.assert_allclose(decode(encode(edge, spec), spec), edge, rtol=1e-6)
        with pytest.raises(UnencodableFeatures, match=f"beyond the int16 encoding's {32767 * step:.6g}"):
            encode(edge + np.sign(edge) * step, spec)
    with pytest.raises(UnencodableFeatures, match="beyond"):
        encode(np.full((1, 2, 1), 3e38, np.float32), spec)


def test_a_step_is_of_own_features_and_a_number() -> None:
    with pytest.raises(SpecError, match="extractor"):
        FeatureSpec(own_step=0.5)
    with pytest.raises(SpecError, match="float32, if the extractor names no step"):
        FeatureSpec.custom(f"{NAME}:Pieces", encoding="int16")
    for step in (0.0, -1.0, float("nan"), "1"):
        with pytest.raises(SpecError, match="own_step"):
            FeatureSpec(**LEVELS.to_dict() | {"own_step": step})


def test_a_store_in_steps_is_within_half_a_step_and_what_is_beyond_them_fails(
    tmp_path: Path, standing_cluster: Path
) -> None:
    for number in range(8):
        write(tmp_path / "songs" / "ab"[number % 2] / f"{number}.wav", chirp(1.0, 8000, seed=number) * 0.5, 8000)
    loud = 0.99 * chirp(1.0, 8000) / np.abs(chirp(1.0, 8000)).max()
    write(tmp_path / "songs" / "a" / "loud.wav", loud, 8000)
    spec = FeatureSpec.custom(f"{NAME}:in_steps", window_s=0.5)
    config = ExtractConfig(scheduler_file=standing_cluster, label_from_folder=True)
    done = extract(tmp_path / "songs", tmp_path / "store", spec, config, progress=Silent())
    assert (done.n_stored, done.n_failed) == (8, 1)
    store = SongStore.open(tmp_path / "store")
    assert store.index()["error_code"].dropna().tolist() == ["out-of-range"]
    exact = dataclasses.replace(spec, encoding="float32")
    computed = {song.song_id: np.array(song.windows) for song in features_of(tmp_path / "songs", exact)}
    for song_id in store.songs()["song_id"]:
        assert np.abs(store.windows(song_id) - computed[song_id]).max() <= spec.step / 2
    array = zarr.open_array(next((tmp_path / "store" / "features.zarr").glob("*/")), mode="r")
    assert (array.dtype, array.attrs["scale_factor"]) == (np.int16, spec.step)
    row = store.songs(arrow=True).slice(0, 1).to_pylist()[0]
    np.testing.assert_allclose(row["feature_sum"], store.windows(row["song_id"]).sum(axis=(0, 2)), rtol=1e-5)
    assert verify(store, full=True) == []
