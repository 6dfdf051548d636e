"""What a run costs beside the audio, with a stand-in for the decoder; `benchmarks/bookkeeping.py` is the large form."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bookkeeping import measure
from tests.support.long import LONG

FEW, MANY = (1_000, 16_000) if LONG else (300, 1_500)


@pytest.mark.long
def test_time_per_song_and_memory_of_the_client_stay_flat_as_songs_grow(tmp_path: Path) -> None:
    few, many = (measure(n, tmp_path / str(n)) for n in (FEW, MANY))
    assert (few.songs, many.songs) == (FEW, MANY)
    # What grows: the list of songs, some 70 bytes each, and what it takes to make a whole row group of the index.
    # What a commit takes for each song that is there already, tests/store/commits/test_merge.py says.
    assert many.peak_bytes < few.peak_bytes + (MANY - FEW) * 100 + (16 << 20), (few, many)
    assert many.seconds / many.songs < few.seconds / few.songs
    assert many.index_bytes / many.songs < few.index_bytes / few.songs
