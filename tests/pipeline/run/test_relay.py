"""Features that are handed on and forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from songbag_pipeline import ExtractConfig, compute_for, features_of
from songbag_pipeline.run import relay
from songbag_store import SongStore
from songbag_store.progress import Lines, Silent
from songbag_store.windows.spans import Spans
from tests.support.audio import chirp, write
from tests.support.clusters import SPEC


class Collector:
    """Receives songs; what it has is kept."""

    def __init__(self) -> None:
        self.windows: dict[str, np.ndarray | None] = {}
        self.taken: list[str] = []
        self.most = 100

    def wanted(self, songs: pa.Table) -> pa.BooleanArray:
        return pa.array([song_id not in self.windows for song_id in songs["song_id"].to_pylist()])

    def take(self, store: SongStore, rows: pa.Table) -> None:
        if len(self.taken) >= self.most:
            raise KeyboardInterrupt
        ids = rows["song_id"].to_pylist()
        self.taken += ids
        spans = list(Spans.of(rows.filter(pc.equal(rows["status"], "ok"))))
        read = {span.song_id: one for span, one in zip(spans, store.inside.reader.read_all(spans), strict=True)}
        self.windows |= {song_id: read.get(song_id) for song_id in ids}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    for number in range(5):
        write(tmp_path / "songs" / f"{number}.wav", chirp(1.0 + number, seed=number))
    (tmp_path / "songs" / "broken.wav").write_bytes(b"RIFF")
    return tmp_path / "songs"


def held(folder: Path) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["here", "cluster"])
def test_songs_are_handed_on_once_and_their_features_are_deleted(
    songs: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    config = ExtractConfig() if place == "here" else request.getfixturevalue("standing")
    monkeypatch.setattr("songbag_pipeline.run.shares._SMALLEST_S", 0.1)
    receiver, folder, lines = Collector(), tmp_path / "work", list[str]()
    receiver.most = 2
    with pytest.raises(KeyboardInterrupt):
        compute_for(receiver, songs, SPEC, folder, config, progress=Lines(lines.append))
    assert any((folder / "parts").glob("*.parquet"))
    receiver.most = 100
    compute_for(receiver, songs, SPEC, folder, config, progress=Silent())
    compute_for(receiver, songs, SPEC, folder, config, progress=Silent())
    assert sorted(receiver.taken) == sorted(receiver.windows)
    for song in features_of(songs, SPEC, progress=Silent()):
        if song.windows is None:
            assert receiver.windows[song.song_id] is None
        else:
            np.testing.assert_array_equal(receiver.windows[song.song_id], song.windows)
    if place == "here":  # a worker of a cluster may still be at work for the first call
        assert held(folder) <= {"store.json", "features.zarr"}
        assert not any((folder / "features.zarr").glob("*/*"))


def test_much_audio_is_computed_by_workers(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Asked:
        def __init__(self, work: object, shown: object, *, keeper: object) -> None:
            asked.append(1)

        def execute(self) -> None: ...

    monkeypatch.setattr(relay, "Coordinator", Asked)
    compute_for(Collector(), songs, SPEC, tmp_path / "a", ExtractConfig(), progress=Silent())
    assert asked == []
    monkeypatch.setattr(relay, "HERE_S", 3.0)
    compute_for(Collector(), songs, SPEC, tmp_path / "b", ExtractConfig(), progress=Silent())
    assert asked == [1]
