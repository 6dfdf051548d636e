from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.likeness.copies import copies, copies_text, find_copies
from songbag_store.writer import commit_change, commit_parts, open_for_writing
from tests.support.command import songbag, songbag_here
from tests.support.stores import MakeStore, Windows, fail, fill, sixteenths

SHAPE = FeatureSpec().window_shape


def found(store: SongStore) -> list[tuple[int, str, str]]:
    table = find_copies(store)
    assert table.schema == pa.schema([("group", pa.int64()), ("song_id", pa.string()), ("known_by", pa.string())])
    return list(zip(*table.to_pydict().values(), strict=True))


def with_values(store: SongStore, column: str, values: Mapping[str, object]) -> SongStore:
    """Return the store after a commit that gives some songs other values of one of songbag's own columns."""
    index = store.index(arrow=True)
    position, kind = index.column_names.index(column), index.schema.field(column).type
    now = [values.get(i, v) for i, v in zip(index["song_id"].to_pylist(), index[column].to_pylist(), strict=True)]
    changed = index.set_column(position, index.schema.field(column), pa.array(now, kind))
    return commit_change(store, lambda base: (changed, base.parts), note="test")


def silence(n_windows: int) -> Windows:
    windows = np.zeros((n_windows, *SHAPE), np.float32)
    windows[:, 0] = -1131.375
    return windows


def test_songs_with_the_same_bytes_are_copies_also_by_a_chain(make_store: MakeStore, rng: np.random.Generator) -> None:
    songs = {name: sixteenths(rng, 2, SHAPE) for name in "dcba"}
    songs["e"] = songs["b"]
    store = with_values(make_store(songs), "content_sha256", {"a": "0" * 64, "b": "0" * 64})
    assert found(store) == [(0, "a", "bytes"), (0, "b", "bytes"), (0, "e", "audio")]


def test_groups_are_numbered_by_their_first_song_in_any_order_of_the_index(
    make_store: MakeStore, rng: np.random.Generator
) -> None:
    one, two = sixteenths(rng, 1, SHAPE), sixteenths(rng, 3, SHAPE)
    store = make_store({"z": one, "c": two, "b": two, "a": one, "alone": sixteenths(rng, 1, SHAPE)})
    assert found(store) == [(0, "a", "audio"), (0, "z", "audio"), (1, "b", "audio"), (1, "c", "audio")]


def test_songs_of_silence_are_not_the_same_audio(make_store: MakeStore) -> None:
    assert found(make_store({"a": silence(2), "b": silence(2), "c": silence(1)})) == []


@pytest.mark.parametrize("column", ["feature_sum", "feature_sumsq"])
@pytest.mark.parametrize("value", [None, [], [float("nan")] * SHAPE[0], [None] * SHAPE[0]], ids=str)
def test_a_song_without_sums_is_no_copy_and_no_error(
    make_store: MakeStore, rng: np.random.Generator, column: str, value: object
) -> None:
    one = sixteenths(rng, 1, SHAPE)
    store = make_store({"a": one, "b": one, "c": one})
    assert found(with_values(store, column, {"a": value})) == [(0, "b", "audio"), (0, "c", "audio")]


def test_songs_that_failed_are_no_copies(tmp_path: Path, rng: np.random.Generator) -> None:
    store = open_for_writing(tmp_path / "store", FeatureSpec())
    one = sixteenths(rng, 1, SHAPE)
    fragments = [fill(store, {"a": one, "b": one}), fail(store, ["c", "d"])]
    parts = {name: read_part(store.inside.storage, store.uuid, store.spec, name) for name in fragments}
    store = with_values(commit_parts(store, parts), "content_sha256", dict.fromkeys("cd", "0" * 64))
    assert found(store) == [(0, "a", "audio"), (0, "b", "audio")]


def test_a_store_of_no_song_and_of_one_has_no_copies(tmp_path: Path, make_store: MakeStore) -> None:
    assert found(open_for_writing(tmp_path / "empty", FeatureSpec())) == []
    store = make_store({"a": np.ones((1, *SHAPE), np.float32)})
    assert found(store) == []
    assert copies(store).shape == (0, 3)
    assert copies_text(find_copies(store)) == "No song is there more than once."


def test_the_command_writes_its_table_as_query_does(
    make_store: MakeStore, rng: np.random.Generator, tmp_path: Path
) -> None:
    one = sixteenths(rng, 1, SHAPE)
    store = make_store({"a": one, "b": one, "c": sixteenths(rng, 1, SHAPE)})
    later = with_values(store, "content_sha256", {"a": "0" * 64, "c": "0" * 64})
    done = songbag("copies", store.address, "--snapshot", str(store.snapshot), "--format", "json")
    rows = [{"group": 0, "song_id": song_id, "known_by": "audio"} for song_id in "ab"]
    assert (done.returncode, json.loads(done.stdout)) == (0, rows)
    assert "2 songs in 1 group: 2 by equal features." in done.stderr
    output = tmp_path / "copies.parquet"
    done = songbag_here("copies", store.address, "-o", output)
    assert (done.returncode, done.stdout) == (0, "")
    assert pq.read_table(output).to_pydict() == find_copies(later).to_pydict()
    refused = songbag_here("copies", store.address, "-o", tmp_path / "copies.nonsense")
    assert (refused.returncode, "copies.nonsense: the suffix is of another format" in refused.stderr) == (2, True)
