"""What the files of a run say of a song without a window, against the network's own pooling."""

from __future__ import annotations

import numpy as np
import pytest

from songbag_training.config import TrainConfig
from songbag_training.models.poolings import POOLINGS
from songbag_training.pages.turning import MOST_TOLD, can_be_told, turning
from songbag_training.songs.task import Task

TASKS = {
    "two": Task(("a", "b")),
    "three": Task(("a", "b", "c")),
    "several": Task(("a", "b", "c"), several=True),
    "thresholds": Task(("a", "b"), thresholds=(0.3, 0.7)),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("kind", ["mean", "max", "attention", "gated-attention"])
def test_the_same_windows_turn_the_answer_as_by_the_pooling(kind: str, name: str) -> None:
    task, rng, n = TASKS[name], np.random.default_rng(3), 6
    pooling, config = POOLINGS[kind](exclusive=not task.several), TrainConfig(pooling=kind)
    n_turning = 0
    for _ in range(8):
        embeddings, logits = (
            rng.normal(size=(1, n, 4)),
            2 * rng.normal(size=(1, n, task.n_logits)) - 2 * (kind == "max"),
        )
        masks = np.concatenate([np.ones((1, n)), 1 - np.eye(n)]).astype(np.float32)
        copies = (np.repeat(one, n + 1, axis=0).astype(np.float32) for one in (embeddings, logits))
        pooled, weights = pooling(*copies, masks)
        said = task.predicted(task.probabilities(np.asarray(pooled)))
        wanted = np.flatnonzero(np.any(said[1:] != said[0], axis=1)).tolist()
        found = turning(task, config, np.asarray(weights)[0].astype(np.float64), task.probabilities(logits[0]))
        assert found["n"] == len(wanted)
        assert found["first"] == [[one, np.flatnonzero(said[1 + one]).tolist()] for one in wanted[:MOST_TOLD]]
        n_turning += len(wanted)
    assert n_turning


def test_what_the_files_do_not_say_is_not_told() -> None:
    assert can_be_told(TrainConfig())
    assert can_be_told(TrainConfig(calibrate=True))
    for pooling in ("noisy-or", "lse", "autopool"):
        assert not can_be_told(TrainConfig(pooling=pooling))
    assert not can_be_told(TrainConfig(pooling="max", calibrate=True))
    assert not can_be_told(TrainConfig(members=2))
    one = turning(TASKS["two"], TrainConfig(), np.ones(1), np.array([[0.4, 0.6]]))
    assert one == {"n": 0, "first": []}
