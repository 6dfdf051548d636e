from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import write_part
from songbag_store.commits.waiting import Pace, WaitingParts
from songbag_store.errors import DamagedStore
from songbag_store.format import keys
from songbag_store.writer import Committer, open_for_writing
from tests.support.stores import part

ROWS = part("f", dict.fromkeys(f"{i:06}" for i in range(4096)), text=["the same"] * 4096)


@pytest.fixture
def store(tmp_path: Path) -> SongStore:
    return open_for_writing(tmp_path / "store", FeatureSpec())


def waiting_in(store: SongStore, **options: int) -> WaitingParts:
    return WaitingParts(store.inside.storage, store.uuid, store.spec, **options)


def durable(store: SongStore, fragment: str, n_songs: int) -> pa.Table:
    rows = part(fragment, dict.fromkeys(f"{fragment[-4:]}-{i:06}" for i in range(n_songs)))
    write_part(store.inside.storage, store.uuid, store.spec, fragment, rows, {})
    return rows


def test_rows_that_wait_come_back_as_they_were_in_less_space(store: SongStore) -> None:
    waiting, before = waiting_in(store), pa.total_allocated_bytes()
    waiting.add("f", ROWS.slice(0, 4000))
    waiting.add("g", ROWS.slice(4000))
    assert list(waiting) == ["f", "g"]
    assert waiting.n_songs == 4096
    assert pa.concat_tables(waiting.values()).equals(ROWS)
    assert pa.total_allocated_bytes() - before < ROWS.nbytes / 4


def test_rows_beyond_the_bound_are_read_from_their_parts(store: SongStore) -> None:
    waiting, fragments = waiting_in(store, memory_bytes=20_000), [f"{number:032x}" for number in range(40)]
    given = {fragment: durable(store, fragment, 100) for fragment in fragments}
    before = pa.total_allocated_bytes()
    for fragment, rows in given.items():
        waiting.add(fragment, rows)
    assert pa.total_allocated_bytes() - before < 40_000
    assert all(waiting[fragment].equals(rows) for fragment, rows in given.items())
    store.inside.storage.delete(keys.part_key(fragments[-1]))
    with pytest.raises(DamagedStore, match=rf"{fragments[-1]}\.parquet: is missing"):
        waiting[fragments[-1]]


def test_a_run_commits_what_waits_and_begins_with_nothing(store: SongStore) -> None:
    committer = Committer(store, note="extract", run="r")
    for number in range(3):
        committer.add(fragment := f"{number:032x}", durable(store, fragment, 10))
    assert (committer.n_songs, committer.is_due) == (30, False)
    committed = committer.commit(ended=False)
    assert committed.index(arrow=True).num_rows == 30
    assert committer.n_songs == 0
    assert committer.commit(ended=True).snapshot == store.snapshot


def passing(clock: list[float], pace: Pace, songs_per_s: float, s_per_song: float) -> Iterator[float]:
    """Run for ever; yield the songs at each commit, which takes time in proportion to them."""
    n_songs = 0.0
    while True:
        clock[0] += 1.0
        n_songs += songs_per_s
        if pace.is_due:
            with pace.commit():
                clock[0] += n_songs * s_per_song
            yield n_songs


def test_all_that_commits_write_stays_in_proportion_to_the_songs() -> None:
    written = {}
    for most in (10**7, 10**8):
        clock = [0.0]
        total, sizes = 0.0, passing(clock, Pace(lambda clock=clock: clock[0]), 2000.0, 2e-6)
        while (n_songs := next(sizes)) < most:
            total += n_songs
        written[most] = (total + n_songs) / n_songs
    # At a commit every two minutes it would be 21 and 208 times.
    assert written[10**7] < written[10**8] < 6.5


def test_commits_of_a_large_index_take_two_percent_of_the_time() -> None:
    clock = [0.0]
    sizes = passing(clock, Pace(lambda: clock[0]), 1.0, 1e-3)
    until = [next(sizes) for _ in range(100)]
    assert sum(until) * 1e-3 / clock[0] == pytest.approx(0.02, rel=0.1)
