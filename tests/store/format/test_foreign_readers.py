"""A store is read without songbag: with zarr, tensorstore, xarray, pandas and DuckDB alone."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import tensorstore
import xarray
import zarr

from songbag_store import FeatureSpec, SongStore
from tests.support.stores import MakeStore, sixteenths

SPECS = [FeatureSpec(), FeatureSpec(encoding="float32")]


@pytest.fixture(params=SPECS, ids=lambda spec: spec.encoding)
def store(request: pytest.FixtureRequest, make_store: MakeStore, rng: np.random.Generator) -> SongStore:
    songs = {name: sixteenths(rng, n, (13, 216)) for name, n in {"a": 3, "b": 11}.items()}
    return make_store(songs, {"label": ["x", "y"]}, spec=request.param)


def newest_index(store: SongStore) -> Path:
    return max((Path(store.address) / "index").glob("*.parquet"))


def test_plain_zarr_reads_a_song_by_its_index_row(store: SongStore) -> None:
    row = pd.read_parquet(newest_index(store)).set_index("song_id").loc["b"]
    array = zarr.open_array(f"{store.address}/features.zarr/{row.fragment}", mode="r")
    stored = np.asarray(array[row.row_start : row.row_start + row.n_windows])
    windows = stored * array.attrs.get("scale_factor", 1.0)
    np.testing.assert_array_equal(windows, store.windows("b"))


def test_plain_tensorstore_reads_a_song_by_its_index_row_and_finds_a_lost_shard(store: SongStore) -> None:
    row = pd.read_parquet(newest_index(store)).set_index("song_id").loc["b"]
    folder = f"{store.address}/features.zarr/{row.fragment}"
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/"}, "fill_missing_data_reads": False}
    array = tensorstore.open(spec, open=True).result()
    song = array[row.row_start : row.row_start + row.n_windows]
    stored = song.read().result()
    np.testing.assert_array_equal(stored * (1 / 16 if stored.dtype == np.int16 else 1.0), store.windows("b"))
    next(Path(folder).glob("c/*/0/0")).unlink()
    with pytest.raises(ValueError, match="missing"):
        song.read().result()


def test_xarray_opens_all_fragments_and_applies_the_scale_by_itself(store: SongStore) -> None:
    row = pd.read_parquet(newest_index(store)).set_index("song_id").loc["b"]
    with xarray.open_zarr(f"{store.address}/features.zarr", consolidated=False) as dataset:
        windows = dataset[row.fragment][row.row_start : row.row_start + row.n_windows]
        assert windows.dims[1:] == ("coefficient", "frame")
        np.testing.assert_array_equal(windows.values, store.windows("b"))


def test_plain_duckdb_answers_from_the_newest_index_file(store: SongStore) -> None:
    answer = duckdb.sql(
        "select label, n_windows, len(feature_sum) from read_parquet($path) where status = 'ok' order by song_id",
        params={"path": str(newest_index(store))},
    )
    assert answer.fetchall() == [("x", 3, 13), ("y", 11, 13)]
