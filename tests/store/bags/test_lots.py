from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from songbag_store.bags.lots import draw_songs, draw_windows, in_order, lots, splitmix64, stretch_starts


def test_splitmix64_gives_the_published_sequence() -> None:
    # First outputs of Vigna's splitmix64.c from the state 1234567: state k is 1234567 + k * golden ratio.
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_the_order_of_keys_counts() -> None:
    assert lots(1, 2)[0] != lots(2, 1)[0]


def test_an_order_that_was_once_drawn_never_changes() -> None:
    assert in_order(np.arange(8), seed=0, epoch=0).tolist() == [4, 7, 2, 0, 3, 1, 6, 5]


def test_a_draw_by_rates_never_changes() -> None:
    assert draw_songs(np.array([2.5, 0.25, 0.25, 1.0, 1.0]), seed=0, epoch=3).tolist() == [0, 2, 3, 4, 5]


@given(
    weights=st.lists(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1.0, 7.0]), min_size=1, max_size=40).filter(any),
    n_draws=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 10**6),
)
def test_a_song_comes_as_often_as_its_rate_says_rounded_down_or_up(
    weights: list[float], n_draws: int, seed: int, epoch: int
) -> None:
    rates = np.array(weights) / sum(weights) * n_draws
    draws = draw_songs(rates, seed=seed, epoch=epoch)
    assert len(draws) == n_draws == len(set(draws.tolist()))
    songs, again = draws % len(rates), draws // len(rates)
    times = np.bincount(songs, minlength=len(rates))
    assert (np.abs(times - rates) < 1 + 1e-9).all()
    assert all(sorted(again[songs == song]) == list(range(times[song])) for song in range(len(rates)))
    for rate in set(rates.tolist()):
        alike = rates == rate
        assert abs(times[alike].sum() - rate * alike.sum()) < 1 + 1e-9


def test_over_many_epochs_every_song_comes_as_often_as_its_rate_says() -> None:
    rates = np.repeat([0.02, 0.4, 2.3], [50, 25, 10])
    times = sum(np.bincount(draw_songs(rates, seed=1, epoch=epoch) % 85, minlength=85) for epoch in range(2000))
    # Of 2,000 independent draws; the standard deviation is at most sqrt(0.5 * 0.5 / 2000) = 0.011.
    np.testing.assert_allclose(np.asarray(times) / 2000, rates, atol=5 * 0.0112)


def test_windows_are_drawn_evenly() -> None:
    songs = np.arange(4000)
    drawn = draw_windows(songs, np.full(4000, 10), 4, seed=3, epoch=1)
    counts = np.bincount(drawn.ravel(), minlength=10)
    # 4000 * 4 / 10 = 1600 each; the standard deviation is sqrt(4000 * 0.4 * 0.6) = 31.
    assert np.abs(counts - 1600).max() < 5 * 31


def test_stretches_of_long_songs_stay_inside_and_move_with_the_epoch() -> None:
    songs, n_windows = np.arange(500), np.full(500, 5000)
    starts = stretch_starts(songs, n_windows, 1024, seed=0, epoch=0)
    assert starts.min() >= 0
    assert starts.max() <= 5000 - 1024
    assert (starts != stretch_starts(songs, n_windows, 1024, seed=0, epoch=1)).mean() > 0.99
    assert not stretch_starts(songs, np.full(500, 7), 1024, seed=0, epoch=0).any()
