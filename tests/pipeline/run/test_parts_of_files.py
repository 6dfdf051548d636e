"""Several songs of one file: each is stored as if it were a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from songbag_pipeline import ExtractConfig, Summary, extract, features_of
from songbag_pipeline.errors import SongsChanged
from songbag_store import FeatureSpec, SongStore
from songbag_store.format.array import decode
from songbag_store.progress import Silent
from songbag_store.upkeep.change import remove
from songbag_store.upkeep.compact import compact
from tests.support.audio import chirp

RATE_HZ = 22050
SPEC = FeatureSpec(window_s=0.5, n_mels=40)
PARTS = [(0.0, 2.0), (2.0, 3.5), (3.5, None), (1.0, 1.2), (30.0, 31.0)]
Run = Callable[..., Summary]


@pytest.fixture(scope="module")
def run(standing_cluster: Path) -> Run:
    def run(source: Path, store: Path, **options: Any) -> Summary:
        config = ExtractConfig(scheduler_file=standing_cluster, **options)
        return extract(source, store, SPEC, config, progress=Silent())

    return run


def listed(folder: Path, parts: list[tuple[float | None, float | None]], *more: str) -> Path:
    lines = ["path,start_s,end_s", *more]
    lines += ["long.flac," + ",".join("" if one is None else f"{one:g}" for one in part) for part in parts]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder / "list.csv"


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[Path, Summary]:
    """A store of parts of a file, and of the file."""
    folder = tmp_path_factory.mktemp("parts")
    soundfile.write(folder / "long.flac", chirp(6.0, RATE_HZ, 2), RATE_HZ)
    return folder, run(listed(folder, PARTS, "long.flac,,"), folder / "store")


def test_each_part_is_stored_as_if_it_were_a_file_of_its_own(extracted: tuple[Path, Summary]) -> None:
    folder, summary = extracted
    assert (summary.n_stored, summary.n_failed, summary.n_duplicates) == (5, 1, 0)
    store = SongStore.open(folder / "store")
    samples, _ = soundfile.read(folder / "long.flac", dtype="int16")
    for start, end in [*PARTS[:4], (None, None)]:
        stop = None if end is None else round(end * RATE_HZ)
        (folder / "cut").mkdir(exist_ok=True)
        soundfile.write(folder / "cut" / "x.flac", samples[round((start or 0) * RATE_HZ) : stop], RATE_HZ)
        (alone,) = features_of(folder / "cut", SPEC)
        song_id = "long.flac" if start is None else f"long.flac#{start:g}-{'' if end is None else f'{end:g}'}"
        assert alone.windows is not None
        np.testing.assert_array_equal(store.windows(song_id), decode(alone.windows, SPEC))
    rows = store.sql("select * from songs order by start_s nulls first, end_s").set_index("song_id")
    assert rows["content_sha256"].nunique() == rows["file_bytes"].nunique() == rows["path"].nunique() == 1
    assert rows["duration_s"].round(6).tolist() == [6.0, 2.0, 0.2, 1.5, 2.5]
    failed = store.sql("select song_id, error_code, start_s, end_s from failures").to_dict("records")
    expected = {"song_id": "long.flac#30-31", "error_code": "part-beyond-end", "start_s": 30.0, "end_s": 31.0}
    assert failed == [expected]


def test_parts_are_predicted_from_a_manifest_one_by_one(extracted: tuple[Path, Summary]) -> None:
    folder, _ = extracted
    store = SongStore.open(folder / "store")
    n_songs = 0
    for song in features_of(folder / "list.csv", SPEC, progress=Silent()):
        n_songs += 1
        if song.windows is not None:
            np.testing.assert_array_equal(decode(song.windows, SPEC), store.windows(song.song_id))
        else:
            assert (song.song_id, song.error_code) == ("long.flac#30-31", "part-beyond-end")
    assert n_songs == 6


def test_what_a_part_is_decides_whether_it_is_new_or_changed(tmp_path: Path, run: Run) -> None:
    soundfile.write(tmp_path / "long.flac", chirp(6.0, RATE_HZ), RATE_HZ)
    text = "song_id,path,start_s,end_s\na,long.flac,0,{}\nb,long.flac,3,\nc,long.flac,{},\n"
    manifest, store = tmp_path / "list.csv", tmp_path / "store"
    manifest.write_text(text.format(2, 9))
    assert (run(manifest, store).n_failed, run(manifest, store).n_known, run(manifest, store).n_done) == (1, 2, 0)
    manifest.write_text(text.format(2, 4).replace("a,long.flac,0", "a,long.flac,"))
    # A start of 0 is none; a failed part with other bounds is tried again.
    assert (run(manifest, store).n_stored, run(manifest, store).n_done) == (1, 0)
    manifest.write_text(text.format(2.5, 4))
    with pytest.raises(SongsChanged, match="'a'"):
        run(manifest, store)
    assert run(manifest, store, update_changed=True).n_stored == 1
    opened = SongStore.open(store)
    assert opened.songs().set_index("song_id")["end_s"].fillna(-1).to_dict() == {"a": 2.5, "b": -1.0, "c": -1.0}
    assert len(opened.windows("a")) == 9
    soundfile.write(tmp_path / "long.flac", chirp(6.0, RATE_HZ, seed=3), RATE_HZ)
    with pytest.raises(SongsChanged) as error:
        run(manifest, store)
    assert error.value.song_ids == ("a", "b", "c")
    assert run(manifest, store, update_changed=True).n_stored == 3
    kept = opened.at().windows("c")
    remove(store, "end_s is not null")
    compact(store)
    left = SongStore.open(store)
    assert left.songs()["song_id"].tolist() == ["b", "c"]
    np.testing.assert_array_equal(left.windows("c"), kept)
