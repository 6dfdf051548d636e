"""The demo's collection: the same for the same seed, varied, sane in level, its genres not too easy to tell apart."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy import signal

from songbag_pipeline.demo import walkthrough
from songbag_pipeline.demo.collection import BROKEN_FILES, ENCODINGS, SAMPLE_RATES_HZ, write_collection
from songbag_pipeline.demo.genres import BORROWED, GENRES, Genre, Instrument, nylon, synthesise
from songbag_pipeline.types import FloatArray

GENRE_IDS = [genre.name for genre in GENRES]


def make_song(genre: Genre, seed: int, *, duration_s: float = 6.0, channels: int = 1) -> FloatArray:
    rng = np.random.default_rng(seed)
    return synthesise(genre, duration_s=duration_s, sample_rate_hz=22_050, channels=channels, rng=rng)


@pytest.fixture(scope="module")
def collection(demo: Path) -> list[Path]:
    """Return the first four songs of each genre of the demo, and its broken files."""
    songs = [path for genre in GENRES for path in sorted((demo / "songs" / genre.name).glob("0[1-4]-*"))]
    return [*songs, *(demo / "songs" / name for name in BROKEN_FILES)]


@pytest.fixture(scope="module")
def songs(collection: list[Path]) -> list[Path]:
    return collection[: -len(BROKEN_FILES)]


@pytest.mark.parametrize("genre", GENRES, ids=GENRE_IDS)
def test_the_same_seed_gives_the_same_samples_and_another_seed_others(genre: Genre) -> None:
    song = make_song(genre, 1)
    np.testing.assert_array_equal(make_song(genre, 1), song)
    assert not np.allclose(make_song(genre, 2), song, atol=0.01)


@pytest.mark.parametrize("genre", GENRES, ids=GENRE_IDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_song_has_the_length_asked_for_and_a_sane_level(genre: Genre, seed: int) -> None:
    song = make_song(genre, seed, channels=2)
    assert song.shape == (6 * 22_050, 2)
    assert song.dtype == np.float32
    assert np.isfinite(song).all()
    assert np.abs(song).max() < 0.86
    assert 0.05 < np.sqrt(np.mean(song**2)) < 0.5


@pytest.mark.parametrize("instrument", BORROWED)
@pytest.mark.parametrize("sample_rate_hz", [22_050, 48_000])
@pytest.mark.parametrize("midi", [52, 76, 90])
def test_every_tuned_instrument_is_finite_and_ends_without_a_click(
    instrument: Instrument, sample_rate_hz: int, midi: int
) -> None:
    note = instrument(440 * 2 ** ((midi - 69) / 12), 0.5, sample_rate_hz, np.random.default_rng(0))
    assert np.isfinite(note).all()
    assert 0.1 < np.abs(note).max() < 3
    assert np.abs(note[-8:]).max() < 0.05


def test_a_plucked_string_is_in_tune_though_its_period_is_no_whole_number_of_samples() -> None:
    note = nylon(700.0, 2.0, 22_050, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(note * np.hanning(note.size)))
    loudest_hz = np.argmax(spectrum[:3000]) * 22_050 / note.size
    harmonic = round(loudest_hz / 700)
    assert loudest_hz == pytest.approx(700 * harmonic, rel=0.005)


@pytest.mark.parametrize("genre", GENRES, ids=GENRE_IDS)
def test_the_rhythms_of_a_genre_are_all_one_bar_long(genre: Genre) -> None:
    rhythms = [rhythm for part in genre.parts for rhythm in part.rhythms]
    assert len({len(rhythm) for rhythm in rhythms}) == 1
    assert all(re.fullmatch(r"\.*(x-*\.*)*", rhythm) for rhythm in rhythms)


def loudness_of_octaves(song: FloatArray) -> NDArray[np.float64]:
    """Mean and spread over time of the level in dB of seven octaves: shape (14,)."""
    hz, _, power = signal.spectrogram(song[:, 0], 22_050, nperseg=1024, noverlap=512)
    edges = np.searchsorted(hz, 80 * 2.0 ** np.arange(8))
    level = 10 * np.log10(np.stack([power[a:b].mean(axis=0) for a, b in pairwise(edges)]) + 1e-12)
    level -= level.mean()
    return np.concatenate([level.mean(axis=1), level.std(axis=1)])


def test_nearest_centroid_of_octave_levels_beats_chance_but_is_not_perfect() -> None:
    per_genre = 8
    features = np.array([[loudness_of_octaves(make_song(genre, n)) for n in range(per_genre)] for genre in GENRES])
    right = 0
    for genre in range(len(GENRES)):
        for left_out in range(per_genre):
            held = features[genre, left_out]
            centroids = features.mean(axis=1)
            centroids[genre] = np.delete(features[genre], left_out, axis=0).mean(axis=0)
            right += np.argmin(np.linalg.norm(centroids - held, axis=1)) == genre
    assert 0.55 < right / (per_genre * len(GENRES)) < 1.0


def test_two_collections_of_one_seed_hold_the_same_samples(tmp_path: Path) -> None:
    first = write_collection(tmp_path / "a", seed=3, songs_per_genre=1)
    again = write_collection(tmp_path / "b", seed=3, songs_per_genre=1)
    assert [path.relative_to(tmp_path / "a") for path in first] == [path.relative_to(tmp_path / "b") for path in again]
    for one, other in zip(first[: -len(BROKEN_FILES)], again, strict=False):
        np.testing.assert_array_equal(soundfile.read(one)[0], soundfile.read(other)[0])


def test_every_genre_has_every_format_and_every_sample_rate(songs: list[Path]) -> None:
    assert len(set(songs)) == len(songs) == 4 * len(GENRES)
    for genre in GENRES:
        files = [path for path in songs if path.parent.name == genre.name]
        assert {path.suffix[1:] for path in files} == set(ENCODINGS)
        assert {soundfile.info(path).samplerate for path in files} == set(SAMPLE_RATES_HZ)


def test_lengths_go_from_3_to_90_s_and_songs_are_mono_and_stereo(songs: list[Path]) -> None:
    infos = [soundfile.info(path) for path in songs]
    assert min(info.duration for info in infos) == pytest.approx(3.0, abs=0.1)
    assert max(info.duration for info in infos) == pytest.approx(90.0, abs=0.1)
    assert {info.channels for info in infos} == {1, 2}


def test_every_song_decodes_without_clipping(songs: list[Path]) -> None:
    for path in songs:
        samples, _ = soundfile.read(path, dtype="float32")
        assert np.abs(samples).max() < 1, path
        assert np.sqrt(np.mean(samples**2)) > 0.05, path


def test_the_two_broken_files_lie_among_the_genres_and_do_not_decode(collection: list[Path]) -> None:
    broken = collection[-len(BROKEN_FILES) :]
    assert len(broken) == 2
    for path in broken:
        assert path.parent.name in GENRE_IDS
        with pytest.raises(soundfile.LibsndfileError, match=path.name):
            soundfile.read(path)


def test_the_demo_refuses_a_folder_with_a_strangers_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert walkthrough.walk(tmp_path) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def stand_in(words: list[str], folder: Path) -> int:
    """Leave behind what the last commands of the demo read, in place of training."""
    if words[0] == "train":
        run = folder / words[words.index("-o") + 1]
        run.mkdir()
        (run / "metrics.json").write_text('{"test": {"song": {"accuracy": 1.0}}}')
    if words[0] == "predict":
        (folder / words[-1]).write_text("song_id,predicted")
    return 0


def test_a_command_that_fails_ends_the_demo_with_its_name_and_exit_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / walkthrough.MARKER).write_text("")
    (tmp_path / "store").write_text("in the way")
    there = Path.cwd()
    code = walkthrough.walk(tmp_path, songs_per_genre=1)
    assert code in (1, 2)
    assert Path.cwd() == there
    said = capfd.readouterr()
    commands = [line for line in said.out.splitlines() if line.startswith("$ songbag")]
    assert commands == ["$ songbag extract songs store --label-from-folder"]
    assert f"`songbag extract songs store --label-from-folder` ended with exit code {code}" in said.err


def test_an_earlier_demo_keeps_its_songs_and_gets_a_second_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walkthrough, "_run", stand_in)
    folder = tmp_path / "demo"
    assert walkthrough.walk(folder, songs_per_genre=1) == 0
    before = {path: path.stat().st_mtime_ns for path in (folder / "songs").rglob("*.*")}
    assert walkthrough.walk(folder, songs_per_genre=1) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "songs").rglob("*.*")} == before
    assert (folder / "run").is_dir()
    assert (folder / "run-2").is_dir()
