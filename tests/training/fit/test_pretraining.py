"""An encoder from songs without labels: what is learned, kept and refused, and how trainings go on from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import songbag
from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_training import TrainConfig
from songbag_training.apply.vectors import song_vectors, vector_model
from songbag_training.config import PretrainConfig
from songbag_training.errors import ModelError
from songbag_training.fit.fit import compiled_model
from songbag_training.fit.material import prepare
from songbag_training.fit.pretraining import prepare_songs
from songbag_training.runs.checkpoints import NAME, read_reached
from songbag_training.runs.overlap import inherit
from songbag_training.runs.run import Run
from songbag_training.runs.summary import describe, info
from songbag_training.songs.augmentation import augmentation
from songbag_training.songs.bags import BagDataset
from songbag_training.splits.split import Split
from tests.support.epochs import Epochs
from tests.support.labelled import songs_of_classes, write_store

ENCODER = "tests.support.nets:with_state"
CONFIG = PretrainConfig(epochs=2, batch_size=8, learning_rate=0.01, encoder=ENCODER, projection=8)


class _Stopping(Epochs):
    """Ends a training inside its second epoch."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, line: str) -> None:
        self.said.append(line)

    def reached(self, done: float) -> None:
        if done > 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> SongStore:
    """Songs of which few have a label, with a copy of one."""
    songs = songs_of_classes({"folk": 15, "jazz": 15})
    for song in songs:
        song["label"] = song["label"] if song["song_id"] < "folk/04" else None
    songs.append(dict(songs[0], song_id="folk/copy"))
    return write_store(tmp_path_factory.mktemp("unlabelled") / "store", songs)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, unlabelled: SongStore) -> tuple[Run, list[str]]:
    """A finished run, which was stopped in its second epoch."""
    folder, stopping = tmp_path_factory.mktemp("encoder") / "run", _Stopping()
    with pytest.raises(KeyboardInterrupt):
        songbag.pretrain(unlabelled, folder, CONFIG, checkpoint_s=0, progress=stopping)
    assert read_reached(folder / NAME).step > 0
    run = songbag.resume(folder, encoder=ENCODER, progress=Lines(stopping.said.append))
    return run, stopping.said


def test_a_run_is_what_other_runs_are_but_for_classes_and_results(encoder: tuple[Run, list[str]]) -> None:
    run, said = encoder
    names = "checkpoint.safetensors history.csv run.json split.parquet weights.safetensors"
    assert sorted(path.name for path in run.folder.iterdir()) == names.split()
    assert (run.facts.task, run.facts.classes, run.facts.label) == ("pretraining", [], "")
    assert said[0].startswith("31 songs, labels are not looked at: ")
    (way,) = [line for line in said if line.startswith("go on with: songbag pretrain")]
    assert way.endswith(f"--resume --encoder {ENCODER}")
    assert said[-2].endswith(f"weights of epoch {run.facts.best_epoch}: {run.folder}")
    assert songbag.verify(run.folder, progress=Silent()) == []
    told = dict(describe(info(run.folder)))
    assert told["task"] == "told songs apart without labels"
    assert "told apart, loss" in told["held out"]
    assert "songbag pretrain" in told["again"]
    assert "--projection 8" in told["again"]
    (row,) = songbag.runs(run.folder).to_dict("records")
    assert (row["songs"], row["state"], row["note"]) == (31, "finished", "an encoder, learned without labels")


def test_copies_are_kept_aside_together(encoder: tuple[Run, list[str]]) -> None:
    split = encoder[0].split()
    where = dict(zip(split.song_ids, split.subsets, strict=True))
    assert where["folk/00"] == where["folk/copy"]
    assert set(where.values()) == {"train", "validation"}
    assert split.counts()["validation"] in (4, 5)


def test_fewer_epochs_than_were_done_are_refused(encoder: tuple[Run, list[str]]) -> None:
    run = encoder[0]
    with pytest.raises(UsageError, match="epochs: is 1, but 2 epochs are done"):
        songbag.resume(run.folder, epochs=1, encoder=ENCODER, progress=Silent())


@pytest.mark.fault(134)
@pytest.mark.parametrize(
    "use",
    [
        lambda run, store, path: songbag.evaluate(run, store, encoder=ENCODER),
        lambda run, store, path: songbag.evaluate(run, store, path, encoder=ENCODER),
        lambda run, store, path: songbag.predict(run, store, encoder=ENCODER),
        lambda run, store, path: songbag.explain(run, "folk/00", path, encoder=ENCODER),
        lambda run, store, path: songbag.export(run, "keras", path.with_suffix(".keras"), encoder=ENCODER),
        lambda run, store, path: songbag.report(run.folder),
        lambda run, store, path: songbag.compare(run.folder, run.folder),
    ],
    ids=["evaluate", "elsewhere", "predict", "explain", "export", "report", "compare"],
)
def test_what_needs_classes_says_that_there_are_none(
    encoder: tuple[Run, list[str]],
    unlabelled: SongStore,
    tmp_path: Path,
    use: Callable[[Run, SongStore, Path], object],
) -> None:
    before = sorted(encoder[0].folder.iterdir())
    with pytest.raises(UsageError, match=r"an encoder without classes, learned without labels\.\n  Train from it"):
        use(encoder[0], unlabelled, tmp_path / "x.wav")
    assert sorted(encoder[0].folder.iterdir()) == before


def test_vectors_of_songs_are_the_mean_of_what_was_learned(
    encoder: tuple[Run, list[str]], unlabelled: SongStore
) -> None:
    run = encoder[0]
    ids, vectors = song_vectors(run, unlabelled, ENCODER, Silent())
    network = vector_model(run)[0].get_layer("window_network")
    windows = unlabelled.windows("jazz/03")
    stored = np.round(windows / unlabelled.spec.step).astype(np.int16)
    embeddings, _ = network(stored, training=False)
    np.testing.assert_allclose(vectors[ids.to_pylist().index("jazz/03")], np.mean(embeddings, axis=0), atol=1e-4)
    nearest = songbag.similar(unlabelled, "folk/00", run=run, k=1, encoder=ENCODER, progress=Silent())
    assert nearest["song_id"].tolist() == ["folk/copy"]


def test_a_training_begins_with_its_encoder_and_knows_its_songs(
    encoder: tuple[Run, list[str]], store: SongStore, unlabelled: SongStore, tmp_path: Path
) -> None:
    run = encoder[0]
    config = TrainConfig(encoder=ENCODER, bag_size=2)
    split = Split(("folk/00", "folk/01", "folk/02", "folk/03"), ("folk",) * 4, ("train", "test", "train", "test"))
    model = compiled_model(prepare(store, "label", None, None, config=config, from_run=run))
    own = {one.path: one.numpy() for one in model.weights}
    kept = vector_model(run)[0]
    for one in kept.get_layer("window_network").get_layer("encoder").weights:
        np.testing.assert_array_equal(own[one.path], one.numpy())
    inherit(run, unlabelled, split, tmp_path, Silent())
    rows = pq.read_table(tmp_path / "inherited.parquet").to_pylist()
    assert {row["how"] for row in rows} == {"pretrained"}
    assert len(rows) == 31


@pytest.mark.fault(135)
def test_too_few_songs_are_refused_or_none_is_kept_aside(tmp_path: Path) -> None:
    songs = songs_of_classes({"folk": 5})
    store = write_store(tmp_path / "store", songs)
    few = prepare_songs(store, None, CONFIG)
    assert few.split.counts() == {"train": 5, "validation": 0, "test": 0}
    assert few.notes[-1].startswith("note: there are too few songs to keep some aside")
    with pytest.raises(UsageError, match="there is 1 song with features, and it takes two to tell apart"):
        prepare_songs(store, "song_id = 'folk/00'", CONFIG)
    with pytest.raises(UsageError, match="there are 0 songs with features"):
        prepare_songs(store, "song_id = 'none'", CONFIG)
    copies = write_store(tmp_path / "copies", [songs[0], dict(songs[0], song_id="copy")])
    with pytest.raises(UsageError, match="all songs are copies of one recording"):
        prepare_songs(copies, None, CONFIG)
    with pytest.raises(ModelError, match="batch_size: is 1 but must be"):
        PretrainConfig(batch_size=1)


def test_a_song_of_a_single_window_is_seen_as_two_changes_of_it(unlabelled: SongStore) -> None:
    single = unlabelled.songs("n_windows = 1")["song_id"].tolist()
    assert single
    changed = CONFIG.training(unlabelled.spec)
    assert changed.bag_size == 2
    change = augmentation(changed, spec=unlabelled.spec, mean=np.zeros(10, np.float32), n_logits=1)
    bags = BagDataset(unlabelled, single, [0] * len(single), bag_size=2, seed=0)
    ((plain, _),), ((seen, _),) = bags.dataset(stop_epoch=1), change(bags.dataset(stop_epoch=1), 0)
    np.testing.assert_array_equal(plain["windows"][:, 0], plain["windows"][:, 1])
    assert not np.array_equal(seen["windows"][:, 0], seen["windows"][:, 1])
