from __future__ import annotations

import dataclasses
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from songbag_store import FeatureSpec, SongStore
from songbag_store.bags.bags import Bags, Batch
from songbag_store.commits.parts import adopt_part
from songbag_store.errors import DamagedStore, SongNotFound, UsageError
from songbag_store.storage.storage import Storage
from songbag_store.types import Ints, StoredWindows
from songbag_store.windows.reader import FragmentReader, Pending
from songbag_store.windows.spans import Spans
from songbag_store.writer import commit_parts, open_for_writing
from tests.support.stores import fill, sixteenths

SPEC = FeatureSpec(sample_rate_hz=8000, n_fft=256, hop_length=256, n_mels=20, window_s=0.5, window_hop_s=0.25)
IDS = [f"{n % 3}/{n:02}" for n in range(36)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """Return a store of 36 songs of 1 to 12 windows in three fragments."""
    rng = np.random.default_rng(17)
    store = open_for_writing(tmp_path_factory.mktemp("stores") / "store", SPEC)
    parts = {}
    for third in range(3):
        ids = IDS[third::3]
        songs = {song_id: sixteenths(rng, 1 + 7 * int(song_id[2:]) % 12, SPEC.window_shape) for song_id in ids}
        fragment = fill(store, songs, {"genre": [f"genre {song_id[0]}" for song_id in ids]})
        parts[fragment] = adopt_part(store.inside.storage, store.uuid, SPEC, fragment)
    return commit_parts(store, parts)


def made(store: SongStore, ids: list[str] = IDS, **options: Any) -> Bags:
    return store.bags(ids, [len(song_id) for song_id in ids], **({"bag_size": 4, "batch_size": 5} | options))


def same(a: Batch, b: Batch) -> bool:
    names = ("windows", "mask", "labels", "songs", "epoch", "step")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def test_every_song_comes_once_an_epoch(store: SongStore) -> None:
    songs = np.concatenate([batch.songs for batch in made(store).batches(stop_epoch=1)])
    assert sorted(songs.tolist()) == list(range(len(IDS)))


def test_batches_of_an_epoch_differ_by_one_song_at_most(store: SongStore) -> None:
    sizes = [len(plan.songs) for plan in made(store, batch_size=7).plans((0, 0), 1)]
    assert sum(sizes) == len(IDS)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 7


def test_the_same_seed_gives_the_same_bags_and_another_one_others(store: SongStore) -> None:
    first, again, other = (made(store, seed=seed).batch(2, 1) for seed in (7, 7, 8))
    assert same(first, again)
    assert not same(first, other)


def test_the_order_in_which_songs_are_given_does_not_matter(store: SongStore) -> None:
    assert same(made(store).batch(0, 0), made(store, IDS[::-1]).batch(0, 0))


def test_a_batch_that_was_once_drawn_never_changes(store: SongStore) -> None:
    plan = made(store, batch_size=3, seed=5).plan(epoch=2, step=4)
    assert plan.songs.tolist() == [4, 1, 23]
    assert plan.windows.tolist() == [[0, 0, 0, 0], [3, 4, 6, 9], [3, 5, 8, 9]]
    assert plan.mask.tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 10**6), batch_size=st.integers(1, 40), data=st.data())
def test_any_step_can_be_entered_directly(
    store: SongStore, seed: int, epoch: int, batch_size: int, data: st.DataObject
) -> None:
    bags = made(store, seed=seed, batch_size=batch_size)
    step = data.draw(st.integers(0, bags.n_steps - 1))
    in_turn = list(bags.plans((epoch, 0), epoch + 1))
    directly = made(store, seed=seed, batch_size=batch_size).plan(epoch, step)
    for name in ("epoch", "step", "songs", "first", "length", "windows", "mask"):
        np.testing.assert_array_equal(getattr(in_turn[step], name), getattr(directly, name))
    resumed = next(bags.plans((epoch, step), epoch + 1))
    np.testing.assert_array_equal(resumed.windows, directly.windows)


@settings(max_examples=25)
@given(count=st.integers(1, 36), batch_size=st.integers(1, 40), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_shards_are_disjoint_and_complete_and_equal_in_steps(
    store: SongStore, count: int, batch_size: int, seed: int, epoch: int
) -> None:
    shards = [made(store, batch_size=batch_size, seed=seed, shard=(index, count)) for index in range(count)]
    assert len({shard.n_steps for shard in shards}) == 1
    plans = [list(shard.plans((epoch, 0), epoch + 1)) for shard in shards]
    songs = [plan.songs for one in plans for plan in one]
    assert sorted(np.concatenate(songs).tolist()) == list(range(len(IDS)))
    assert min(map(len, songs)) >= 1
    assert max(map(len, songs)) <= max(batch_size, 2)
    for step in zip(*plans, strict=True):
        sizes = [len(plan.songs) for plan in step]
        assert max(sizes) - min(sizes) <= 1


def test_a_song_has_the_same_windows_in_every_number_of_shards(store: SongStore) -> None:
    drawn: list[dict[int, list[int]]] = []
    for count in (1, 4):
        shards = [made(store, shard=(index, count)) for index in range(count)]
        plans = [plan for shard in shards for plan in shard.plans((3, 0), 4)]
        drawn.append({s: w for plan in plans for s, w in zip(plan.songs.tolist(), plan.windows.tolist(), strict=True)})
    assert drawn[0] == drawn[1]


@settings(max_examples=25)
@given(count=st.integers(1, 5), batch_size=st.integers(1, 40), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_shards_share_the_songs_of_an_epoch_in_which_some_come_more_often(
    store: SongStore, count: int, batch_size: int, seed: int, epoch: int
) -> None:
    rates = np.where(np.arange(len(IDS)) < 4, 3.0, 0.25)
    n_draws = round(rates.sum())
    options = {"batch_size": batch_size, "seed": seed, "rates": rates}
    shards = [made(store, shard=(index, count), **options) for index in range(count)]
    plans = [list(shard.plans((epoch, 0), epoch + 1)) for shard in shards]
    assert {len(one) for one in plans} == {min(-(-n_draws // (batch_size * count)), n_draws // count)}
    songs = np.concatenate([plan.songs for one in plans for plan in one])
    assert len(songs) == n_draws
    assert [[shards[0].song_ids[song] for song in songs].count(song_id) for song_id in IDS[:4]] == [3, 3, 3, 3]
    step = len(plans[0]) - 1
    directly = made(store, shard=(0, count), **options).plan(epoch, step)
    np.testing.assert_array_equal(plans[0][step].windows, directly.windows)


def test_a_song_that_comes_again_comes_with_other_windows_and_its_label(store: SongStore) -> None:
    songs = store.songs(arrow=True)
    most = songs["song_id"][int(np.argmax(songs["n_windows"].to_numpy()))].as_py()
    rates = [8.0 if song_id == most else 0.5 for song_id in IDS]
    for order in (1, -1):
        bags = store.bags(IDS[::order], IDS[::order], bag_size=4, batch_size=100, rates=rates[::order])
        batch = bags.batch(0, 0)
        assert batch.labels is not None
        assert batch.labels.tolist() == [bags.song_ids[song] for song in batch.songs]
        drawn = bags.plan(0, 0).windows[batch.labels == most].tolist()
        assert len(drawn) == 8
        assert len(set(map(tuple, drawn))) > 4


@pytest.mark.parametrize("rates", [[1.0], [-1.0] + [2.0] * 35, [0.01] * 36, [np.nan] * 36, [np.inf] * 36])
def test_rates_that_make_no_epoch_are_refused(store: SongStore, rates: list[float]) -> None:
    with pytest.raises(UsageError, match="rate"):
        made(store, rates=rates)


@settings(max_examples=40)
@given(bag_size=st.integers(1, 20), epoch=st.integers(0, 100))
def test_a_bag_holds_windows_of_its_song_without_repeating_a_real_one(
    store: SongStore, bag_size: int, epoch: int
) -> None:
    bags = made(store, bag_size=bag_size)
    songs = store.songs(arrow=True)
    n_windows = dict(zip(songs["song_id"].to_pylist(), songs["n_windows"].to_pylist(), strict=True))
    for plan in bags.plans((epoch, 0), epoch + 1):
        for song, windows, mask in zip(plan.songs, plan.windows, plan.mask, strict=True):
            there = n_windows[bags.song_ids[song]]
            real = windows[mask == 1].tolist()
            assert len(real) == len(set(real)) == min(there, bag_size)
            assert windows.max() < there


def test_a_batch_holds_the_windows_as_stored_with_their_labels(store: SongStore) -> None:
    bags = made(store)
    batch, plan = bags.batch(3, 2), bags.plan(3, 2)
    assert batch.windows.dtype == np.int16
    assert batch.labels is not None
    assert batch.labels.tolist() == [len(bags.song_ids[song]) for song in batch.songs]
    for bag, song, drawn in zip(batch.windows, plan.songs, plan.windows, strict=True):
        np.testing.assert_array_equal(bag / 16, store.windows(bags.song_ids[song])[drawn])


def test_another_epoch_draws_other_windows_of_a_long_song(store: SongStore) -> None:
    longest = max(IDS, key=lambda song_id: len(store.windows(song_id)))
    bags = made(store, [longest])
    drawn = {tuple(bags.plan(epoch, 0).windows[0].tolist()) for epoch in range(20)}
    assert len(drawn) > 10


def test_of_a_very_long_song_only_a_stretch_is_read(tmp_path: Path) -> None:
    windows = np.arange(3000, dtype=np.float32)[:, None, None] / 2 * np.ones(SPEC.window_shape, np.float32)
    store = open_for_writing(tmp_path / "store", SPEC)
    fragment = fill(store, {"day": windows})
    store = commit_parts(store, {fragment: adopt_part(store.inside.storage, store.uuid, SPEC, fragment)})
    bags = store.bags(bag_size=8)
    plan, batch = bags.plan(5, 0), bags.batch(5, 0)
    assert plan.length.tolist() == [1024]
    np.testing.assert_array_equal(batch.windows[0, :, 0, 0] / 8, plan.first + plan.windows[0])


def test_iterating_goes_on_epoch_after_epoch(store: SongStore) -> None:
    bags = made(store)
    batches = list(islice(bags, bags.n_steps + 2))
    assert [(batch.epoch, batch.step) for batch in batches[-3:]] == [(0, bags.n_steps - 1), (1, 0), (1, 1)]
    assert same(batches[-1], bags.batch(1, 1))
    assert same(batches[-1], next(bags.batches((1, 1))))


class NotingReader(FragmentReader):
    """Notes the bytes of the batches that are under way, whenever one begins."""

    def __init__(self, storage: Storage, spec: FeatureSpec) -> None:
        super().__init__(storage, spec)
        self.under_way: list[int] = []
        self.seen: list[list[int]] = []

    def read_bags(self, spans: Spans, windows: Ints) -> Pending:
        self.under_way.append(windows.size * self.spec.window_bytes)
        self.seen.append(list(self.under_way))
        return NotedBags(super().read_bags(spans, windows), self)


@dataclasses.dataclass(frozen=True)
class NotedBags:
    """Bags that a `NotingReader` reads; they are asked for in the order in which they began."""

    pending: Pending
    reader: NotingReader

    def result(self) -> StoredWindows:
        self.reader.under_way.pop(0)
        return self.pending.result()


@pytest.mark.parametrize(("ahead_bytes", "most_batches"), [(0, 1), (40_000, 5), (10**9, 8)])
def test_what_is_read_ahead_stays_under_its_bound(store: SongStore, ahead_bytes: int, most_batches: int) -> None:
    reader = NotingReader(store.inside.storage, SPEC)
    bags = Bags(reader, store.songs(arrow=True), bag_size=4, batch_size=5, ahead_bytes=ahead_bytes)
    assert len(list(bags.batches(stop_epoch=2))) == 16
    assert all(sum(sizes) <= ahead_bytes or len(sizes) == 1 for sizes in reader.seen)
    assert max(map(len, reader.seen)) == most_batches


def test_songs_may_be_chosen_by_an_expression_and_labelled_by_a_column(store: SongStore) -> None:
    bags = store.bags("genre = 'genre 1'", labels="genre", batch_size=4)
    assert bags.song_ids == [song_id for song_id in sorted(IDS) if song_id.startswith("1")]
    assert all(set(batch.labels) == {"genre 1"} for batch in bags.batches(stop_epoch=1) if batch.labels is not None)
    assert store.bags().batch(0, 0).labels is None
    assert store.bags().song_ids == sorted(IDS)


def test_a_label_may_be_a_row_of_numbers(store: SongStore) -> None:
    hot = np.eye(len(IDS), dtype=np.float32)
    batch = store.bags(IDS, hot).batch(0, 1)
    assert batch.labels is not None
    assert batch.labels.shape == (len(batch.songs), len(IDS))
    assert [IDS[row] for row in batch.labels.argmax(axis=1)] == [sorted(IDS)[song] for song in batch.songs]


def test_a_lost_shard_is_an_error_that_names_the_song(tmp_path: Path, store: SongStore) -> None:
    shutil.copytree(store.address, tmp_path / "store")
    for shard in (tmp_path / "store" / "features.zarr").glob("*/c/0/0/0"):
        shard.unlink()
    with pytest.raises(DamagedStore, match="songs hit"):
        made(SongStore.open(tmp_path / "store")).batch(0, 0)


def test_an_unknown_song_is_refused(store: SongStore) -> None:
    with pytest.raises(SongNotFound, match="nobody"):
        store.bags(["nobody"])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"songs": IDS[:2], "labels": [0]}, "2 songs and 1 label do not make bags"),
        ({"songs": [IDS[0], IDS[0]]}, "more than once"),
        ({"songs": "n_windows > 1000"}, "there are no songs"),
        ({"labels": "nothing"}, "no column 'nothing'"),
        ({"labels": "error"}, "36 songs have no 'error'"),
        ({"bag_size": 0}, "bag_size: is 0 but must be a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size: is 2.5 but must be a whole number from 1"),
        ({"shard": (2, 2)}, "shard 2 of 2"),
        ({"songs": IDS[:2], "shard": (0, 3)}, "2 songs are too few for 3 shards"),
    ],
)
def test_what_makes_no_bags_is_refused(store: SongStore, call: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        store.bags(**call)
