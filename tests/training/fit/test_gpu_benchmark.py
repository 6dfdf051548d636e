"""The benchmark of GPUs, as far as it goes without one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.gpu import Setting, main, measure, percents, settings
from benchmarks.stores import SPEC, write_store


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    main()
    assert capsys.readouterr().out.startswith("TensorFlow sees no GPU here")


def test_each_setting_is_measured_once_and_one_is_on_the_processor(tmp_path: Path, rng: np.random.Generator) -> None:
    assert len(set(settings())) == 16
    songs = rng.normal(0, 20, (8, 2, *SPEC.window_shape)).astype(np.float32)
    store = write_store(tmp_path / "store", iter(songs))
    found = measure(store, Setting("reference", 8, mixed=False, xla=False), rounds=1)
    assert found.store_s > 0 < found.memory_s
    assert str(found).count(" | ") == 3


def test_what_nvidia_smi_says_is_read_line_by_line() -> None:
    assert percents("97\n[N/A]\n 3\n\n") == [97, 3]
