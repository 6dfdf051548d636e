from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.errors import UsageError
from songbag_store.progress import Lines, Silent
from songbag_store.storage.files import file_digest
from songbag_training import TrainConfig, predict, resume, song_model, train
from songbag_training.apply.explain import explain
from songbag_training.apply.vectors import song_vectors
from songbag_training.errors import DamagedRun
from songbag_training.evaluation.score import SongScorer
from songbag_training.fit.fit import compiled_model
from songbag_training.fit.material import prepare
from songbag_training.models.members import MembersPooling
from songbag_training.models.poolings import POOLINGS
from songbag_training.runs.run import Run
from songbag_training.runs.summary import describe, info
from songbag_training.runs.verification import verify
from songbag_training.runs.weights import read_tensors, save_tensors
from songbag_training.songs.task import Task
from tests.support.documents import edit_document

M, SHARE = 3, 0.3
TASK = Task(("a", "b", "c"))
ENCODER = "tests.support.nets:with_state"


@pytest.fixture(scope="module")
def model(spec: FeatureSpec) -> keras.Model:
    keras.utils.set_random_seed(3)
    return song_model(spec, TASK, n_members=M, pooling="attention")


def bags(spec: FeatureSpec, n_songs: int) -> dict[str, Any]:
    windows = np.random.default_rng(0).integers(-900, 900, (n_songs, 2, *spec.window_shape)).astype(np.int16)
    mask = np.ones((n_songs, 2), np.float32)
    mask[0, 1] = 0
    return {"windows": windows, "mask": mask}


def logits_of_members(model: keras.Model, spec: FeatureSpec, features: dict[str, Any]) -> list[Any]:
    """Return what each member makes of bags, by the weights of a network without members."""
    found = []
    for number in range(1, M + 1):
        one = song_model(spec, TASK, pooling="attention")
        own = {weight.path: weight.numpy() for weight in model.weights}
        for weight in one.weights:
            head = weight.path.replace("head/kernel", f"head/kernel_{number}").replace(
                "head/bias", f"head/bias_{number}"
            )
            names = (f"encoder/{number}/{weight.path}", head, weight.path.replace("pooling/", f"pooling/{number}/"))
            weight.assign(next(own[name] for name in names if name in own))
        found.append(np.asarray(one(features, training=False)))
    return found


def test_a_song_has_the_mean_of_the_probabilities_of_the_members(model: keras.Model, spec: FeatureSpec) -> None:
    features = bags(spec, 4)
    each = [TASK.probabilities(logits) for logits in logits_of_members(model, spec, features)]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(TASK.probabilities(model(features, training=False).numpy()), np.mean(each, 0), atol=1e-5)
    model.get_layer("pooling").temperature.assign([2.0])
    by_temperature = TASK.probabilities(np.log(np.mean(each, axis=0)) / 2)
    np.testing.assert_allclose(TASK.probabilities(model(features, training=False).numpy()), by_temperature, atol=1e-5)
    model.get_layer("pooling").temperature.assign([1.0])


def test_in_training_each_copy_of_a_song_has_the_logits_of_its_member(spec: FeatureSpec) -> None:
    # Without dropout and batch normalisation, so that training alone changes nothing.
    keras.utils.set_random_seed(3)
    network = song_model(spec, TASK, n_members=M, encoder="reference", pooling="attention")
    features = {name: np.repeat(values, M, axis=0) for name, values in bags(spec, 2).items()}
    together = np.asarray(network(features, training=True)).reshape(2, M, -1)
    pooling, (embeddings, logits) = (
        network.get_layer("pooling"),
        network.get_layer("window_network")(features["windows"].reshape(-1, *spec.window_shape), training=False),
    )
    shape = (2 * M, 2, -1)
    own, _ = pooling.by_member(*(keras.ops.reshape(one, shape) for one in (embeddings, logits)), features["mask"])
    for member in range(M):
        np.testing.assert_allclose(together[:, member], np.asarray(own[member])[member::M], atol=1e-5)


@pytest.mark.parametrize("task", [Task(("a", "b")), TASK, Task(("a", "b", "c"), several=True)])
def test_every_pooling_has_members_and_one_window_scores_as_its_song(task: Task) -> None:
    rng = np.random.default_rng(1)
    for kind in POOLINGS:
        pooling = MembersPooling(kind, 2, exclusive=not task.several)
        embeddings, logits = (rng.normal(size=(3, 1, 2 * n)).astype(np.float32) for n in (5, task.n_logits))
        songs, weights = pooling(embeddings, logits, np.ones((3, 1), np.float32))
        np.testing.assert_allclose(songs, pooling.of_windows(logits[:, 0]), atol=1e-5, err_msg=kind)
        np.testing.assert_allclose(weights, 1.0, atol=1e-6, err_msg=kind)
        each = [
            task.probabilities(logits[:, 0, n::2] if task.n_logits == 1 else part)
            for n, part in enumerate(np.split(logits[:, 0], 2, axis=-1))
        ]
        np.testing.assert_allclose(
            task.probabilities(np.asarray(songs)), np.mean(each, axis=0), atol=1e-5, err_msg=kind
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, store: SongStore) -> tuple[Run, list[str]]:
    """A run with two members in mixed precision and trees beside them, that went on to a second epoch."""
    options: dict[str, Any] = {"encoder": ENCODER, "members": 2, "mixed_precision": True, "no_floor": True}
    options |= {"tree_share": SHARE}
    config = TrainConfig(epochs=1, bag_size=2, learning_rate=0.01, **options)
    said: list[str] = []
    folder = tmp_path_factory.mktemp("members") / "run"
    train(store, "label", folder, config, progress=Silent())
    return resume(folder, epochs=2, encoder=ENCODER, progress=Lines(said.append)), said


def test_a_run_says_what_each_learner_reaches_and_what_all_do_together(trained: tuple[Run, list[str]]) -> None:
    run, said = trained
    one, two, trees = (own["accuracy"] for own in run.metrics["test"]["learners"].values())
    line = f"2 members: {one:.2f}, {two:.2f}; trees on song summaries: {trees:.2f}; together: "
    assert f"{line}{run.metrics['test']['song']['accuracy']:.2f}" in said
    assert list(run.metrics["validation"]["learners"]) == ["member 1", "member 2", "trees"]
    shown = dict(describe(info(run)))
    assert shown["model"].startswith("2 members, each ")
    assert shown["model"].endswith(f", and trees with a share of {SHARE}")
    assert {"members 2", f"tree_share {SHARE}"} <= set(shown["settings"].split(", "))


def test_a_run_with_members_is_read_as_any_other(
    trained: tuple[Run, list[str]], store: SongStore, tmp_path: Path
) -> None:
    run, _ = trained
    opened = Run.open(run.folder).allow_encoder(ENCODER)
    found = predict(opened, store, tmp_path / "predictions.csv", encoder=ENCODER, progress=Silent())
    scorer = SongScorer(opened.load_model(), run.facts.song_task)
    score = next(scorer.of_store(store, store.songs(ids=[run.split().song_ids[0]], arrow=True)))
    one, two, trees = score.of_learners.values()
    mean = ((one + two) / 2) ** (1 - SHARE) * np.clip(trees, 1e-3, 1 - 1e-3) ** SHARE
    np.testing.assert_allclose(score.probabilities, mean / mean.sum(), atol=1e-6)
    said = run.predictions().set_index("song_id").loc[score.song_id]
    np.testing.assert_allclose(score.probabilities, [said[f"p_{name}"] for name in run.facts.classes], atol=1e-5)
    assert explain(opened, score.song_id, store=store, encoder=ENCODER).song.weights.sum() == pytest.approx(1.0)
    assert found is not None


def test_members_begin_with_the_encoder_of_a_run_without_them(
    trained: tuple[Run, list[str]], run: Run, store: SongStore, tmp_path: Path
) -> None:
    of_two, _ = trained
    with pytest.raises(UsageError, match="members: is 1, but the run to start from has 2 members"):
        train(store, "label", tmp_path / "one", TrainConfig(encoder=ENCODER, members=1), from_run=of_two)
    config = TrainConfig(members=3, freeze="encoder")
    made = compiled_model(prepare(store, "label", None, None, config=config, from_run=run))
    before, after = ({weight.path: weight.numpy() for weight in one.weights} for one in (run.load_model(), made))
    assert len(after) == len(made.weights)
    for name, values in before.items():
        if name.startswith(("conv", "norm")):
            for number in (1, 2, 3):
                np.testing.assert_array_equal(after[f"encoder/{number}/{name}"], values)
    assert (after["head/kernel_1"] != after["head/kernel_2"]).any()
    assert {weight.path.split("/")[0] for weight in made.trainable_weights} == {"head"}


def test_trees_that_are_gone_or_changed_are_refused(trained: tuple[Run, list[str]], tmp_path: Path) -> None:
    run, _ = trained
    copy = Path(shutil.copytree(run.folder, tmp_path / "run"))
    weights = copy / "weights.safetensors"
    tensors = read_tensors(weights, None)
    assert [name for name in tensors if name.startswith("trees/")]
    for changed in (
        {name: own for name, own in tensors.items() if not name.startswith("trees/")},
        tensors | {"trees/left": tensors["trees/left"] * 0},
    ):
        save_tensors(weights, changed)
        assert [one.key for one in verify(copy)] == [weights.name]
        files = Run.open(copy).facts.files or {}
        edit_document(copy / "run.json", files=files | {weights.name: file_digest(weights)})
        with pytest.raises(DamagedRun, match="trees"):
            Run.open(copy).allow_encoder(ENCODER).load_model()


def test_vectors_are_of_the_networks_alone(trained: tuple[Run, list[str]], store: SongStore) -> None:
    opened = Run.open(trained[0].folder).allow_encoder(ENCODER)
    _, vectors = song_vectors(opened, store, ENCODER, Silent())
    assert vectors.shape[1] == opened.load_networks().get_layer("window_network").outputs[0].shape[-1]
