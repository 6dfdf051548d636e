"""What a run costs beside the audio, with a stand-in for the decoder; `benchmarks/bookkeeping.py` is the large form."""

from __future__ import annotations

import pytest

from benchmarks.bookkeeping import measure
from tests.support.long import LONG

FEW, MANY = (1_000, 16_000) if LONG else (500, 2_500)


@pytest.mark.long
def test_time_per_song_and_memory_of_the_client_stay_flat_as_songs_grow() -> None:
    few, many = measure(FEW), measure(MANY)
    assert (few[0], many[0]) == (FEW, MANY)
    # What grows: the list of songs, some 70 bytes each, and what it takes to make a whole row group of the index.
    # What a commit takes for each song that is there already, tests/store/commits/test_merge.py says.
    assert many[2] < few[2] + (MANY - FEW) * 100 + (16 << 20), (few, many)
    assert many[1] / many[0] < few[1] / few[0]
