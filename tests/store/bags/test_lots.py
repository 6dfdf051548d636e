from __future__ import annotations

import numpy as np

from songbag_store.bags.lots import draw_windows, lots, song_order, splitmix64, stretch_starts


def test_splitmix64_gives_the_published_sequence() -> None:
    # First outputs of Vigna's splitmix64.c from the state 1234567: state k is 1234567 + k * golden ratio.
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert splitmix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_the_order_of_keys_counts() -> None:
    assert lots(1, 2)[0] != lots(2, 1)[0]


def test_an_order_that_was_once_drawn_never_changes() -> None:
    assert song_order(8, seed=0, epoch=0).tolist() == [4, 7, 2, 0, 3, 1, 6, 5]


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
