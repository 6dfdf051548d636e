"""What a run costs beside the audio, with a stand-in for the decoder; `benchmarks/bookkeeping.py` is the large form."""

from __future__ import annotations

from benchmarks.bookkeeping import measure


def test_time_per_song_and_memory_of_the_client_stay_flat_as_songs_grow() -> None:
    few, many = measure(1_000), measure(8_000)
    assert (few[0], many[0]) == (1_000, 8_000)
    # What grows is the index while it is committed, half a kilobyte a song, and what writing it as Parquet takes.
    assert many[2] < few[2] + 7_000 * 2_000 + (8 << 20)
    assert many[1] / many[0] < 2 * few[1] / few[0]
