"""What a run costs beside the audio, with a stand-in for the decoder; `benchmarks/bookkeeping.py` is the large form."""

from __future__ import annotations

from benchmarks.bookkeeping import measure


def test_time_per_song_and_memory_of_the_client_stay_flat_as_songs_grow() -> None:
    few, many = measure(1_000), measure(16_000)
    assert (few[0], many[0]) == (1_000, 16_000)
    # What grows: the list of songs, some 70 bytes each, and what it takes to make a whole row group of the index.
    # What a commit takes for each song that is there already, tests/store/commits/test_merge.py says.
    assert many[2] < few[2] + 15_000 * 100 + (16 << 20), (few, many)
    assert many[1] / many[0] < few[1] / few[0]
