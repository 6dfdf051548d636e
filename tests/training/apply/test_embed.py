"""Stores of embeddings: what is in them, how they grow, and what they are used for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from songbag_pipeline import extract
from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.parts import read_part
from songbag_store.errors import Interrupted, SpecError, SpecMismatch, UsageError
from songbag_store.format.spec import EMBEDDING
from songbag_store.likeness.copies import find_copies
from songbag_store.progress import Lines, Silent
from songbag_store.storage.location import Location
from songbag_store.upkeep.change import relabel, remove
from songbag_store.upkeep.summary import describe, info
from songbag_store.upkeep.verify import verify
from songbag_store.writer import commit_parts, open_for_writing
from songbag_training import TrainConfig, predict, train
from songbag_training.apply.embed import embed, embedding_spec
from songbag_training.apply.embedding import EmbeddingWriter, embedding_plan
from songbag_training.errors import RunNotFound
from songbag_training.evaluation.predictions import window_times
from songbag_training.evaluation.score import SongScorer
from songbag_training.runs.run import Run
from songbag_training.songs.pieces import Piece, stored_pieces
from tests.support import objects
from tests.support.labelled import SPEC
from tests.support.patience import PATIENCE_S
from tests.support.stores import Windows, fail, fill

COLUMNS = ("song_id", "path", "genre", "year", "status", "error_code", "error", "duration_s", "content_sha256")


def add(store: SongStore, songs: Mapping[str, Windows], columns: Mapping[str, list[Any]]) -> SongStore:
    return taken_in(store, fill(store, songs, columns))


def taken_in(store: SongStore, fragment: str) -> SongStore:
    return commit_parts(store, {fragment: read_part(store.inside.storage, store.uuid, store.spec, fragment)})


def made(folder: Path, ids: Sequence[str], failed: Sequence[str] = ("broken",), *, seed: int = 1) -> SongStore:
    """Return a store of songs with odd names, columns, and a song that failed."""
    rng = np.random.default_rng(seed)
    store = open_for_writing(folder, SPEC)
    windows = {
        one: rng.normal(0, 20, (1 + number % 4, *SPEC.window_shape)).astype(np.float32)
        for number, one in enumerate(ids)
    }
    store = add(store, windows, {"genre": ["folk", "jazz"] * (len(ids) // 2), "year": list(range(len(ids)))})
    return taken_in(store, fail(store, list(failed)))


IDS = ("a", "../b", "ç 'd\"", "e/f", "g", "h")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    return made(tmp_path_factory.mktemp("source") / "store", IDS)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, run: Run, source: SongStore) -> SongStore:
    folder = tmp_path_factory.mktemp("embedded")
    done = embed(run, source, folder / "store", songs=folder / "vectors.parquet", progress=Silent())
    assert (done.n_songs, done.n_failed, done.n_known, done.n_vectors) == (6, 1, 0, 6)
    assert done.store is not None
    return done.store


def test_a_window_is_what_the_encoder_makes_of_the_window_of_the_source(
    run: Run, source: SongStore, embedded: SongStore
) -> None:
    network = run.load_model().get_layer("window_network")
    assert embedded.spec.window_shape == (network.outputs[0].shape[-1], 1)
    for song_id in IDS:
        stored = np.round(source.windows(song_id) * 16).astype(np.int16)
        np.testing.assert_allclose(embedded.windows(song_id)[..., 0], network(stored)[0], rtol=1e-4, atol=1e-5)
    assert [list(times) for times in window_times(3, embedded.spec)] == [list(t) for t in window_times(3, SPEC)]


def test_the_index_has_the_columns_of_the_source_and_its_failures(source: SongStore, embedded: SongStore) -> None:
    rows, own = (store.index([*COLUMNS], arrow=True).sort_by("song_id") for store in (source, embedded))
    assert own.equals(rows)
    assert own.schema.field("year").type == pa.int64()
    (failed,) = embedded.sql("select * from failures", arrow=True).to_pylist()
    assert (failed["song_id"], failed["error_code"]) == ("broken", "not-audio")


def test_other_commands_take_a_store_of_embeddings(embedded: SongStore) -> None:
    assert verify(embedded, full=True) == []
    assert find_copies(embedded).num_rows == 0
    words = dict(describe(info(embedded)))
    assert words["features"].startswith(f"embeddings of {embedded.spec.n_bands:,} numbers by run ")
    assert words["windows"] == f"{sum(1 + number % 4 for number in range(6))} of 0.5 s every 0.25 s"
    assert embedded.sql("select count(*) n from songs")["n"][0] == 6


def test_the_fingerprint_covers_run_and_store(
    run: Run, source: SongStore, embedded: SongStore, store: SongStore
) -> None:
    spec = embedded.spec
    assert (spec.kind, spec.embedding_run, spec.embedding_store) == (EMBEDDING, run.facts.run_id, source.uuid)
    assert spec.fingerprint == embedding_spec(run, source, spec.n_bands).fingerprint
    assert spec.fingerprint != embedding_spec(run, store, spec.n_bands).fingerprint
    assert FeatureSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(SpecError, match="embedding_run"):
        FeatureSpec.from_dict({**SPEC.to_dict(), "embedding_run": "a" * 32})
    with pytest.raises(SpecError, match="embedding_run"):
        FeatureSpec(kind=EMBEDDING)


def test_the_vector_of_a_song_is_the_mean_by_the_weights_of_the_pooling(
    run: Run, source: SongStore, embedded: SongStore, tmp_path: Path
) -> None:
    path = Path(embedded.address).parent / "vectors.parquet"
    table = pq.read_table(path)
    assert table.schema.remove_metadata() == pa.schema([("song_id", pa.string()), ("vector", pa.list_(pa.float32()))])
    vectors = dict(zip(table["song_id"].to_pylist(), table["vector"].to_numpy(), strict=True))
    assert list(vectors) == sorted(IDS)
    for song_id, vector in vectors.items():
        np.testing.assert_allclose(vector, embedded.windows(song_id)[..., 0].mean(axis=0), rtol=1e-4, atol=1e-5)
    assert len(duckdb.read_parquet(str(path)).fetchall()) == len(pd.read_parquet(path)) == 6
    embed(run, source, songs=tmp_path / "alone.parquet", progress=Silent())
    alone = pq.read_table(tmp_path / "alone.parquet")
    assert alone["song_id"] == table["song_id"]
    np.testing.assert_allclose(np.stack(alone["vector"].to_numpy()), np.stack(list(vectors.values())), atol=1e-4)


def test_an_interrupted_call_is_finished_by_the_same_call(
    run: Run, source: SongStore, embedded: SongStore, tmp_path: Path
) -> None:
    """By Ctrl-C, which commits; and by a death, which leaves finished parts that the next call takes over."""

    answered = threading.Event()

    class Stops(Silent):
        def note(self, line: str) -> None:
            answered.set()

        def advance(self, done: float, state: str, line: str | None = None) -> None:
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)
                assert answered.wait(PATIENCE_S)

    folder = tmp_path / "store"
    with pytest.raises(Interrupted, match="2 of 6 songs embedded") as caught:
        embed(run, source, folder, progress=Stops())
    assert caught.value.exit_code == 130
    begun = SongStore.open(folder)
    assert (begun.snapshot, begun.index(arrow=True).num_rows) == (1, 2)
    plan = embedding_plan(source, begun)
    scorer = SongScorer(run.load_model(), run.facts.song_task)
    writer = EmbeddingWriter(begun, plan, fragment_bytes=1)
    written = writer.write(scorer.embeddings(stored_pieces(source, plan.ok, scorer.chunk_windows)))
    for _ in range(3):
        next(written)
    assert SongStore.open(folder).index(arrow=True).num_rows == 2
    done = embed(run, source, folder, progress=Silent())
    assert (done.n_songs, done.n_failed, done.n_known) == (2, 1, 4)
    assert done.store is not None
    assert verify(done.store, full=True) == []
    for song_id in IDS:
        np.testing.assert_allclose(done.store.windows(song_id), embedded.windows(song_id), rtol=1e-4, atol=1e-5)
    again = embed(run, source, folder, progress=Silent())
    assert (again.n_songs, again.n_failed, again.n_known) == (0, 0, 7)
    assert again.store is not None
    assert again.store.snapshot == done.store.snapshot
    # It ends here, or it would write in the middle of another test, when Python collects it.
    written.close()


def test_later_songs_are_added_and_changed_ones_computed_again(
    run: Run, tmp_path: Path, rng: np.random.Generator
) -> None:
    first = made(tmp_path / "source", IDS[:2])
    folder, notes = tmp_path / "embedded", list[str]()
    embed(run, first, folder, progress=Silent())
    windows = rng.normal(0, 20, (3, *SPEC.window_shape)).astype(np.float32)
    store, _ = remove(first, "song_id in ('a', 'broken')")
    store = add(store, {"new": windows, "broken": windows}, {"genre": ["rock", "folk"], "year": [9, 3]})
    (tmp_path / "labels.csv").write_text("song_id,genre\n../b,polka\n")
    store, _ = relabel(store, tmp_path / "labels.csv")
    done = embed(run, store, folder, progress=Lines(notes.append))
    assert (done.n_songs, done.n_failed, done.n_known) == (2, 0, 1)
    assert done.store is not None
    rows = done.store.index(["song_id", "status", "genre"], arrow=True).sort_by("song_id").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("../b", "ok", "jazz"),
        ("a", "ok", "folk"),
        ("broken", "ok", "folk"),
        ("new", "ok", "rock"),
    ]
    assert notes == [
        "note: 1 song of the store of embeddings not in this snapshot: what is there stays",
        "note: 1 song has other columns there than in the source; to change them: songbag relabel STORE LABELS",
    ]
    earlier = embed(run, store.at(1), songs=tmp_path / "early.parquet", progress=Silent())
    assert (earlier.n_vectors, earlier.store) == (2, None)


def test_a_song_whose_embeddings_are_not_finite_fails(run: Run, source: SongStore, tmp_path: Path) -> None:
    target = open_for_writing(tmp_path / "store", embedding_spec(run, source, 3))
    plan = embedding_plan(source, target)
    spans = plan.ok.select(["song_id", "n_windows"]).to_pylist()
    values = [np.full((one["n_windows"], 3), np.nan if one["song_id"] == "g" else 1, np.float32) for one in spans]
    pieces = [Piece(one["song_id"], own, True) for one, own in zip(spans, values, strict=True)]
    writer = EmbeddingWriter(target, plan)
    assert list(writer.write(zip(pieces, values, strict=True))) == [1, 2, 3, 4, 5, 6]
    store = writer.end(whole=True)
    assert (writer.n_stored, writer.n_failed) == (5, 2)
    failed = store.sql("select song_id, error_code, genre from failures order by 1", arrow=True).to_pylist()
    assert [tuple(row.values()) for row in failed] == [
        ("broken", "not-audio", None),
        ("g", "embedding-not-finite", "folk"),
    ]
    assert verify(store, full=True) == []
    assert embedding_plan(source, store).n_songs == 0


def test_what_does_not_fit_is_refused_before_anything_is_made(
    run: Run, source: SongStore, embedded: SongStore, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing to write"):
        embed(run, source)
    with pytest.raises(UsageError, match=r"vectors\.csv"):
        embed(run, source, tmp_path / "new", songs=tmp_path / "vectors.csv")
    other = open_for_writing(tmp_path / "other", FeatureSpec())
    with pytest.raises(SpecMismatch, match="other features than the model was trained on"):
        embed(run, other, tmp_path / "new")
    with pytest.raises(SpecMismatch, match="give the one that they were made from"):
        embed(run, embedded, tmp_path / "new")
    with pytest.raises(SpecMismatch, match=r"something else is there: 10 MFCC.*\n.*Give a new folder"):
        embed(run, source, source)
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "cross-validation.json").touch()
    with pytest.raises(RunNotFound, match=r"this is a cross-validation.*\n.*fold-1"):
        embed(tmp_path / "folds", source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_empty_store_gives_an_empty_one(run: Run, tmp_path: Path) -> None:
    empty = open_for_writing(tmp_path / "empty", SPEC)
    done = embed(run, empty, tmp_path / "store", songs=tmp_path / "vectors.parquet", progress=Silent())
    assert (done.n_songs, done.n_failed, done.n_vectors) == (0, 0, 0)
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 0


def test_embeddings_are_trained_on_and_predicted_from(run: Run, store: SongStore, tmp_path: Path) -> None:
    done = embed(run, store, tmp_path / "store", progress=Silent())
    assert done.store is not None
    config = TrainConfig(epochs=1, pooling="attention", no_floor=True)
    second = train(done.store, "label", tmp_path / "second", config, progress=Silent())
    assert second.facts.config.encoder == "dense"
    assert len(predict(second, done.store)) == 36
    with pytest.raises(UsageError, match=r"trained on embeddings, which are not computed of audio.*\n.*songbag embed"):
        predict(second, tmp_path)
    with pytest.raises(SpecMismatch, match="Give a store of its embeddings"):
        predict(second, store)
    with pytest.raises(SpecMismatch, match="give the one that they were made from"):
        predict(run, done.store)
    (tmp_path / "song.wav").touch()
    with pytest.raises(SpecError, match=r"holds embeddings.*\n.*Extract into the store that they were made from"):
        extract(tmp_path, done.store)
    embed(second, done.store, songs=tmp_path / "vectors.parquet", progress=Silent())
    vectors = pq.read_table(tmp_path / "vectors.parquet")
    scorer = SongScorer(second.load_model(), second.facts.song_task)
    song_id = vectors["song_id"][3].as_py()
    places = done.store.songs(ids=[song_id], arrow=True)
    (score,) = scorer.score(stored_pieces(done.store, places, 100))
    ((_, outputs),) = scorer.embeddings(stored_pieces(done.store, places, 100))
    np.testing.assert_allclose(vectors["vector"][3].as_py(), score.weights @ outputs, rtol=1e-3, atol=1e-5)


def test_embeddings_go_into_a_bucket_and_only_what_is_missing_comes_later(
    run: Run, source: SongStore, embedded: SongStore, s3_url: str, s3_endpoint: str
) -> None:
    bucket = Location(s3_url, objects.options(s3_endpoint))
    first = embed(run, source, bucket, progress=Silent())
    again = embed(run, source, bucket, progress=Silent())
    assert (first.n_songs, first.n_failed, again.n_songs, again.n_known) == (6, 1, 0, 7)
    store = SongStore.open(bucket)
    assert store.spec == embedded.spec
    for song_id in IDS:
        np.testing.assert_array_equal(store.windows(song_id), embedded.windows(song_id))
    assert verify(store, full=True) == []
