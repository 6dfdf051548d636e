"""What a run costs beside the audio, with a stand-in for the decoder; `benchmarks/bookkeeping.py` is the large form."""

from __future__ import annotations

from benchmarks.bookkeeping import measure


def test_time_per_song_and_memory_of_the_client_stay_flat_as_songs_grow() -> None:
    few, many = measure(1_000), measure(8_000)
    assert (few[0], many[0]) == (1_000, 8_000)
    # What grows: rows without a snapshot, half a kilobyte each up to 20,000 of them, and writing 8,000 rows as Parquet.
    # What a commit takes for each song that is there already, tests/store/test_merging.py says.
    assert many[2] < few[2] + 7_000 * 500 + (40 << 20)
    assert many[1] / many[0] < 2 * few[1] / few[0]
