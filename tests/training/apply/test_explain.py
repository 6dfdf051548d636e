"""`songbag explain`: the deciding seconds as a table and as audio, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import songbag
from songbag_pipeline import features_of
from songbag_pipeline.songs.clip import CLIP_FORMATS
from songbag_store import SongStore
from songbag_store.errors import SongbagError, SongNotFound, SpecMismatch, UsageError
from songbag_store.format.array import decode
from songbag_training.apply.explain import CLIP_SUFFIXES, Explanation, explain
from songbag_training.apply.explanation import SongExplanation
from songbag_training.apply.pieces import deciding_pieces
from songbag_training.cli import commands
from songbag_training.runs.run import Run
from songbag_training.songs.task import Task
from tests.support.audio import chirp, write
from tests.support.labelled import SPEC, write_store

ODD = 'rock/<b>"é\n.wav'
FAILED = {"song_id": "failed", "label": "folk", "status": "failed", "error_code": "corrupt", "error": "it is cut off"}


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recording of 6 s, and one shorter than a window."""
    folder = tmp_path_factory.mktemp("explained") / "music"
    write(folder / "long.wav", chirp(6.0, 8000, seed=1), 8000)
    write(folder / "short.wav", chirp(0.3, 8000, seed=2), 8000)
    return folder


@pytest.fixture(scope="module")
def songs(music: Path) -> SongStore:
    """Return a store of these songs, a part, and songs whose file is gone, changed or unknown, or that failed."""
    windows = {song.song_id: decode(np.array(song.windows), SPEC) for song in features_of(music, SPEC)}
    long, short = windows["long.wav"], windows["short.wav"]
    path, digest = str(music / "long.wav"), hashlib.sha256((music / "long.wav").read_bytes()).hexdigest()
    whole = {"label": "rock", "windows": long, "path": path, "duration_s": 6.0, "content_sha256": digest}
    part = {"song_id": "part", "windows": long[8:15], "start_s": 2.0, "end_s": 4.0, "duration_s": 2.0}
    rows = [
        {"song_id": ODD, **whole},
        {**whole, **part},
        {**whole, "song_id": "short", "path": str(music / "short.wav"), "windows": short, "duration_s": 0.3}
        | {"content_sha256": None},
        {**whole, "song_id": "changed", "content_sha256": "0" * 64},
        {**whole, "song_id": "gone", "path": str(music / "gone.wav")},
        {**whole, "song_id": "unknown", "path": None},
        FAILED,
    ]
    return write_store(music.parent / "store", rows)


def test_the_deciding_seconds_are_cut_from_the_audio_and_joined(
    run: Run, songs: SongStore, music: Path, tmp_path: Path
) -> None:
    heard, _ = soundfile.read(music / "long.wav", dtype="float32")
    for song, start, output in ((ODD, 0.0, "clip.wav"), ("part", 2.0, "clip.flac")):
        found = songbag.explain(run, song, tmp_path / output, store=songs, seconds=1.6)
        table = found.table()
        assert 0.5 <= (table["end_s"] - table["start_s"]).sum() <= 1.6
        assert table["clip_s"].tolist() == pytest.approx([0.0, *(table["end_s"] - table["start_s"]).cumsum()][:-1])
        clip, rate = soundfile.read(tmp_path / output, dtype="float32")
        bounds = ((start + table[["start_s", "end_s"]]) * 8000).round().astype(int).to_numpy()
        np.testing.assert_allclose(clip, np.concatenate([heard[a:b] for a, b in bounds]), atol=1e-4)
        assert rate == 8000
    # Of a song that is shorter than a window, its own seconds are heard.
    found = explain(run, "short", tmp_path / "clip.ogg", store=songs)
    assert found.table()["end_s"].tolist() == [0.3]
    assert found.turning() == ["The song has one window, so none can be left out."]
    assert found.table()["answer_without"].isna().all()
    assert soundfile.info(tmp_path / "clip.ogg").frames == 2400
    assert tuple(CLIP_FORMATS) == CLIP_SUFFIXES


def test_a_file_that_is_in_no_store_is_explained_as_the_song_is(run: Run, songs: SongStore, music: Path) -> None:
    of_store, of_file = explain(run, ODD, store=songs), explain(run, str(music / "long.wav"), store=songs)
    assert of_store.table().equals(of_file.table())
    np.testing.assert_allclose(of_file.windows()["weight"].sum(), 1, atol=1e-6)
    assert of_file.windows().columns[-1] == "without_p_rock"
    (music.parent / "list.csv").write_text(f"path\n{music / 'long.wav'}\n")
    (music.parent / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match="not an audio file"):
        explain(run, str(music.parent / "list.csv"), store=songs)
    with pytest.raises(SongbagError, match=r"broken\.wav: "):
        explain(run, str(music.parent / "broken.wav"), store=songs)


@pytest.mark.parametrize(
    ("song", "options", "error", "what"),
    [
        ("gone", {"output": "clip.wav"}, SongbagError, r"gone\.wav: there is no such file"),
        ("changed", {"output": "clip.wav"}, SongbagError, "not the one that the features were computed of"),
        ("unknown", {"output": "clip.wav"}, UsageError, "the store does not know the file of the song"),
        ("failed", {}, UsageError, "has no features, because it failed"),
        ("par", {}, SongNotFound, r"no song 'par'.*\n.*Did you mean 'part'"),
        ("part", {"output": "clip.mp4"}, UsageError, "suffix"),
        ("part", {"output": "no/clip.wav"}, UsageError, "there is no folder"),
        ("part", {"class_name": "Rock"}, UsageError, r"no class 'Rock'.*\n.*Did you mean 'rock'"),
        ("part", {"seconds": 0.0}, UsageError, "seconds: is 0 but must be above 0"),
        ("part", {"seconds": float("nan")}, UsageError, "seconds: is nan"),
    ],
)
def test_what_cannot_be_explained_or_heard_is_said(
    run: Run, songs: SongStore, tmp_path: Path, song: str, options: dict, error: type, what: str
) -> None:
    if "output" in options:
        options = {**options, "output": tmp_path / options["output"]}
    with pytest.raises(error, match=what):
        explain(run, song, store=songs, **options)
    assert not list(tmp_path.iterdir())


def test_songs_without_a_file_are_explained_without_audio(run: Run, songs: SongStore) -> None:
    for song in ("gone", "changed", "unknown"):
        assert explain(run, song, store=songs).pieces
    with pytest.raises(SpecMismatch):
        explain(run, "part", store=write_store(Path(songs.address).parent / "other", [], spec=songbag.FeatureSpec()))


def test_the_command_writes_a_table_and_a_clip(run: Run, songs: SongStore, tmp_path: Path) -> None:
    own = ["explain", str(run.folder), "part", "--store", songs.address]
    done = CliRunner().invoke(commands, [*own, "-o", str(tmp_path / "clip.flac"), "--class", "jazz"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("part: ")
    assert "A weight says how much a window counted; it is no cause." in done.output
    assert f"s: {tmp_path / 'clip.flac'}" in done.output
    done = CliRunner().invoke(commands, [*own, "--format", "json", "--class", "jazz"])
    rows = [json.loads(line) for line in done.output.splitlines()] if done.output[0] == "{" else json.loads(done.output)
    assert {row["class"] for row in rows} == {"jazz"}
    done = CliRunner().invoke(commands, [*own, "-o", str(tmp_path / "pieces.csv")])
    assert (tmp_path / "pieces.csv").read_text().startswith('"start_s","end_s","clip_s","class"')


def made(evidence: list[list[float]], *, several: bool = True) -> SongExplanation:
    """Return a song of two classes whose windows have this evidence, 1 s long and 0.5 s apart."""
    shares, n = np.array(evidence), len(evidence)
    starts = np.arange(n) * 0.5
    whole, none = np.full(n, 1 / n), np.zeros(n, np.bool_)
    probabilities = shares.mean(axis=0)
    task = Task(("a", "b"), several)
    return SongExplanation(
        "x", task, probabilities, probabilities > 0.5, starts, starts + 1, whole, shares, shares * np.nan, none
    )


def test_the_pieces_hold_half_of_the_evidence_or_the_seconds_that_were_given() -> None:
    song = made([[0.9, 0], [0.1, 0], [0.1, 0], [0.9, 0.2], [0.8, 0.9], [0.0, 0.1]])
    both = deciding_pieces(song, [0, 1], 30)
    # The first and the fourth window have 1.8 of 2.8 of class a.
    assert [(one.start_s, one.end_s, one.class_number, one.windows) for one in both] == [
        *((0.0, 1.0, 0, (0,)), (1.5, 2.5, 0, (3,))),
        (2.0, 3.0, 1, (4,)),
    ]
    assert (both[0].weight, both[0].probability) == (pytest.approx(1 / 6), 0.9)
    # Half a second more than a window is a window and its neighbour.
    even = made([[0.5, 0.5]] * 20)
    assert [(one.start_s, one.end_s) for one in deciding_pieces(even, [0], 1.5)] == [(0.0, 1.5)]
    assert [one.class_number for one in deciding_pieces(even, [1, 0], 1.0)] == [1]
    assert [(one.start_s, one.end_s) for one in deciding_pieces(even, [0], 0.1, 0.7)] == [(0.0, 0.7)]
    assert len(deciding_pieces(made([[0.0, 0.0]] * 3), [0], 30)) == 1


def test_windows_that_turn_the_answer_are_named() -> None:
    song = made([[0.9, 0.4], [0.2, 0.4]], several=True)
    song.probabilities_without[:] = [[0.2, 0.4], [0.9, 0.4]]
    song.turning[0] = True
    from songbag_training.apply.source import SongAudio

    found = Explanation(song, [], [], SongAudio("x", {}, 8000))
    assert found.turning() == ["Without the window 0.0-1.0 s the answer would be no class."]
    song.turning[:] = False
    assert found.turning() == ["No single window, left out, would change the answer."]
    assert found.table(arrow=True).num_rows == 0
    assert "<b>" not in found._repr_html_()
