"""`songbag similar`: by statistics, by a run, of a store of embeddings, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import songbag
from songbag_store import SongStore
from songbag_store.errors import QueryError, SongNotFound, SpecMismatch, UsageError
from songbag_store.progress import Silent
from songbag_training.apply.embed import embed
from songbag_training.apply.similar import similar
from songbag_training.cli import commands
from songbag_training.runs.run import Run
from tests.support.command import songbag_here
from tests.support.labelled import songs_of_classes, write_store

FAILED = {"song_id": "failed", "label": "folk", "status": "failed", "error_code": "corrupt", "error": "it is cut off"}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """Return a store of 12 songs and one that failed, where a song of folk is there twice."""
    made = songs_of_classes({"folk": 4, "jazz": 4, "rock": 4}, seed=3)
    copy = dict(made[0], song_id="folk/copy")
    return write_store(tmp_path_factory.mktemp("similar") / "store", [*made, copy, FAILED])


def test_songs_of_one_kind_are_near_by_statistics(songs: SongStore) -> None:
    nearest = similar(songs, "folk/00", k=4)
    assert (nearest["song_id"][0], nearest["distance"][0], nearest["rank"].tolist()) == ("folk/copy", 0.0, [1, 2, 3, 4])
    every = similar(songs, k=1, arrow=True)
    assert every.num_rows == 13
    labels = [[name.split("/")[0] for name in every[column].to_pylist()] for column in ("song_id", "neighbour")]
    assert np.mean([a == b for a, b in zip(*labels, strict=True)]) > 0.6
    assert songbag.similar is similar


def test_all_other_songs_are_neighbours_if_more_are_asked_for(songs: SongStore) -> None:
    assert len(similar(songs, "jazz/00", k=100)) == 12
    among = similar(songs, "jazz/00", k=100, where="label = 'folk'")
    assert sorted(among["song_id"]) == ["folk/00", "folk/01", "folk/02", "folk/03", "folk/copy"]
    assert len(similar(songs, k=2, where="label = 'jazz'")) == 8
    assert len(similar(songs, k=2, where="song_id = 'folk/00'")) == 0
    assert len(similar(songs, "folk/00", where="song_id = 'folk/00'")) == 0


def test_a_run_and_a_store_of_its_embeddings_agree(run: Run, songs: SongStore, tmp_path: Path) -> None:
    by_run = similar(songs, "rock/01", k=12, run=run, progress=Silent())
    done = embed(run, songs, tmp_path / "store", progress=Silent())
    of_store = similar(done.store, "rock/01", k=12)
    assert by_run["song_id"].tolist() == of_store["song_id"].tolist()
    np.testing.assert_allclose(by_run["distance"], of_store["distance"], atol=1e-4)
    vector, other = (done.store.windows(name)[..., 0].mean(axis=0) for name in ("rock/01", by_run["song_id"][4]))
    cosine = vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)
    assert by_run["distance"][4] == pytest.approx(1 - cosine, abs=1e-4)
    with pytest.raises(SpecMismatch, match="give the one that they were made from"):
        similar(done.store, "rock/01", run=run)


def test_what_cannot_be_answered_is_said(songs: SongStore, run: Run) -> None:
    with pytest.raises(SongNotFound, match=r"no song 'folk/0'.*\n.*Did you mean 'folk/0"):
        similar(songs, "folk/0")
    with pytest.raises(UsageError, match=r"'failed' has no features, because it failed \(corrupt\)"):
        similar(songs, "failed")
    with pytest.raises(UsageError, match="k: is 0"):
        similar(songs, "folk/00", k=0)
    with pytest.raises(UsageError, match="encoder: there is no run"):
        similar(songs, "folk/00", encoder="module:function")
    with pytest.raises(UsageError, match="the encoder of this run is"):
        similar(songs, "folk/00", run=run, encoder="module:function")
    with pytest.raises(QueryError):
        similar(songs, "folk/00", where="nothing = 1")


def test_the_command_writes_every_form(songs: SongStore, tmp_path: Path) -> None:
    shown = songbag_here("similar", songs.address, "folk/00", "-k", "2")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "folk/copy" in shown.stdout
    done = CliRunner().invoke(commands, ["similar", songs.address, "folk/00", "-k", "2", "--format", "json"])
    assert [row["rank"] for row in json.loads(done.stdout)] == [1, 2]
    path = tmp_path / "every.parquet"
    assert songbag_here("similar", songs.address, "-k", "3", "-o", path).returncode == 0
    every = pq.read_table(path)
    assert (every.num_rows, every.schema.field("distance").type) == (39, pa.float64())
    alone = songbag_here("similar", songs.address, "folk/00", "--where", "false")
    assert (alone.returncode, alone.stderr) == (0, "There is no other song to compare with.\n")
    unknown = songbag_here("similar", songs.address, "folk/0")
    assert (unknown.returncode, "Did you mean 'folk/0" in unknown.stderr) == (1, True)
    wrong = songbag_here("similar", songs.address, "folk/00", "-k", "0")
    assert (wrong.returncode, wrong.stderr.startswith("songbag: --k: is 0")) == (2, True)


def test_the_commands_embed_and_find(run: Run, songs: SongStore, tmp_path: Path) -> None:
    target, vectors = tmp_path / "store", tmp_path / "vectors.parquet"
    done = songbag_here("embed", run.folder, songs.address, "-o", target, "--songs", vectors)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"13 song vectors: {vectors}\n"
        f"13 songs embedded, 1 failed; snapshot 1 of {target}. Why: songbag failures {target}\n"
    )
    again = songbag_here("embed", run.folder, songs.address, "-o", target, "--snapshot", "1")
    assert again.stdout == f"Nothing is new: 14 songs were there already. Snapshot 1 of {target}.\n"
    nothing = songbag_here("embed", run.folder, songs.address)
    assert (nothing.returncode, "--output" in nothing.stderr) == (2, True)
    for options in ([target], [songs.address, "--run", run.folder]):
        found = songbag_here("similar", *options, "folk/00", "-k", "1")
        assert (found.returncode, "folk/copy" in found.stdout) == (0, True)
