"""Reading bags takes little memory, whatever the size of the store; benchmarks/reading_memory.py has the long form."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from benchmarks.reading_memory import peaks_mb
from benchmarks.stores import SPEC, write_store
from tests.support.long import LONG


@pytest.mark.long
def test_reading_takes_less_than_300_mb_beyond_tensorflow(tmp_path: Path) -> None:
    song = np.random.default_rng(0).normal(0, 30, (23, *SPEC.window_shape)).astype(np.float32)
    store = write_store(tmp_path / "store", repeat(song, 1500))
    # 388 MB as float32, of which an epoch reads 270 MB.
    assert peaks_mb(store.address, n_epochs=3 if LONG else 1)[1] < 300
