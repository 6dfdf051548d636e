from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from songbag_pipeline.audio.files import open_regular
from songbag_pipeline.songs.song import read_song
from songbag_store import FeatureSpec
from tests.support.audio import chirp, write

CONTENT = np.random.default_rng(0).bytes(3 << 18)
"""More than is hashed at once."""


@given(st.lists(st.tuples(st.integers(0, 1 << 18), st.integers(0, 4 << 18))), st.booleans())
def test_the_hash_is_that_of_the_whole_file_whatever_was_read_before(
    tmp_path_factory: pytest.TempPathFactory, reads: list[tuple[int, int]], begun: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(CONTENT)
    with open_regular(str(path)) as file:
        if begun:
            file.hash_while_read()
        for n_bytes, at in reads:
            assert file.read_at(n_bytes, at) == CONTENT[at : at + n_bytes]
        assert file.sha256() == file.sha256() == hashlib.sha256(CONTENT).hexdigest()


def test_what_is_read_in_order_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = write(tmp_path / "x.flac", chirp(20.0, 44100), 44100)
    n_read, pread = 0, os.pread

    def counted(descriptor: int, n_bytes: int, at: int) -> bytes:
        nonlocal n_read
        data = pread(descriptor, n_bytes, at)
        n_read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    facts = read_song(str(song), FeatureSpec(), lambda windows: None)
    assert facts.content_sha256 == hashlib.sha256(song.read_bytes()).hexdigest()
    assert n_read < 1.1 * song.stat().st_size


@pytest.mark.parametrize("suffix", ["flac", "mp3", "wav", "ogg"])
@pytest.mark.parametrize("kept", [1.0, 0.5, 0.001])
def test_the_hash_of_a_song_is_that_of_its_file_used_in_part_or_not_at_all(
    tmp_path: Path, suffix: str, kept: float
) -> None:
    song = write(tmp_path / f"x.{suffix}", chirp(12.0, 44100), 44100)
    song.write_bytes(song.read_bytes()[: int(song.stat().st_size * kept)])
    facts = read_song(str(song), FeatureSpec(max_duration_s=3.0), lambda windows: None)
    assert facts.content_sha256 == hashlib.sha256(song.read_bytes()).hexdigest()
