"""One training on several machines."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from songbag_store import SongStore
from songbag_store.errors import UsageError
from songbag_training import TeamConfig, TrainConfig
from songbag_training.errors import ModelError, RunError
from songbag_training.fit import team as module
from songbag_training.fit.team import Team, joined, refuse_lost
from tests.support.long import LONG
from tests.support.patience import PATIENCE_S

PLAIN = ("--mixup", "0", "--time-shift", "0", "--time-mask", "0", "--band-mask", "0")


class Half(Team):
    """One of two machines, whose values the test gives for the other one."""

    def __init__(self, other: dict[int, Any]) -> None:
        self.number, self.count, self._other = 1, 2, other

    def _reduce(self, value: Any, purpose: int, merge: str, final: str) -> Any:
        both = np.stack([np.asarray(value), np.asarray(self._other.get(purpose, value))])
        return {"Add": both.mean(axis=0), "Max": both.max(axis=0), "Min": both.min(axis=0)}[merge].astype(both.dtype)


def test_the_addresses_name_the_machines_and_this_is_one_of_them() -> None:
    assert joined(TeamConfig()) is None
    assert TeamConfig(machines="a:1,b.c:22,[::1]:3", machine=2).addresses == ["a:1", "b.c:22", "[::1]:3"]
    for machines in ("a:1", "a,b", "a:1,", "a:1;b:2", "a:1, b:2", ""):
        with pytest.raises(UsageError, match="machines: is"):
            TeamConfig(machines=machines)
    for number in (2, -1):
        with pytest.raises(UsageError, match="machine: is"):
            TeamConfig(machines="a:1,b:2", machine=number)
    with pytest.raises(UsageError, match="machine: is 1 but must be below the number of `machines`"):
        TeamConfig(machine=1)


def test_a_batch_is_shared_out_and_what_cannot_be_is_refused() -> None:
    assert Half({}).share_of(TrainConfig(batch_size=8)) == {"batch_size": 4, "shard": (1, 2)}
    with pytest.raises(ModelError, match="batch_size: is 7, which 2 machines cannot share"):
        Half({}).share_of(TrainConfig(batch_size=7))
    with pytest.raises(ModelError, match="mixed_precision"):
        Half({}).share_of(TrainConfig(mixed_precision=True))


def test_means_keep_the_shapes_of_what_is_averaged() -> None:
    values = [np.full((2, 3), 4.0, np.float32), np.float32(1.0), np.arange(3, dtype=np.float32)]
    other = np.concatenate([np.zeros(6), [3.0], [2.0, 1.0, 0.0]]).astype(np.float32)
    means = Half({1: other}).mean(values, 1)
    assert [tuple(one.shape) for one in means] == [(2, 3), (), (3,)]
    assert [np.asarray(one).ravel().tolist() for one in means] == [[2.0] * 6, [2.0], [1.0, 1.0, 1.0]]


def test_machines_that_differ_are_refused_on_all_of_them() -> None:
    Half({}).require_same([b"songs", b"weights"])
    with pytest.raises(UsageError, match="other songs, options or weights"):
        Half({module._LOWEST: np.zeros(8, np.int64)}).require_same([b"songs"])
    with pytest.raises(RunError, match="another machine of this training is gone"):
        refuse_lost(module.tf.errors.UnavailableError(None, None, "closed"), "run")
    refuse_lost(module.tf.errors.InvalidArgumentError(None, None, "of something else"), "run")


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def trained(store: SongStore, folder: Path, *options: str, machines: int = 2) -> list[Path]:
    """Train on so many machines, and return their runs."""
    addresses = ",".join(f"127.0.0.1:{port}" for port in free_ports(machines))
    line = [sys.executable, "-m", "songbag", "train", store.address, "--label", "label", "--bag-size", "2", *options]
    runs = [folder / f"run-{number}-of-{machines}" for number in range(machines)]
    of = [["--machines", addresses, "--machine", str(number)] if machines > 1 else [] for number in range(machines)]
    started = [subprocess.Popen([*line, "-o", str(run), *own]) for run, own in zip(runs, of, strict=True)]
    assert [one.wait(PATIENCE_S) for one in started] == [0] * machines
    return runs


@pytest.mark.skipif(not LONG, reason="make test-long: TensorFlow starts in three processes")
@pytest.mark.parametrize("encoder", ["reference", "compact"])
def test_two_machines_end_with_the_same_weights_and_the_loss_of_one(
    store: SongStore, tmp_path: Path, encoder: str
) -> None:
    options = ("--encoder", encoder, "--epochs", "4", "--batch-size", "6", *PLAIN)
    first, second = trained(store, tmp_path, *options)
    assert (first / "weights.safetensors").read_bytes() == (second / "weights.safetensors").read_bytes()
    (alone,) = trained(store, tmp_path, *options, machines=1)
    losses = [pd.read_csv(run / "history.csv") for run in (first, second, alone)]
    assert losses[0]["loss"].tolist() == losses[1]["loss"].tolist()
    if encoder == "reference":
        np.testing.assert_allclose(losses[0]["loss"], losses[2]["loss"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(losses[0]["val_loss"], losses[2]["val_loss"], rtol=0, atol=1e-5)
