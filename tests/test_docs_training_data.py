"""What docs/how-to/training/training-data.md shows is run: on the demo's store, and with PyTorch if installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from songbag_store import SongStore
from tests.support.patience import PATIENCE_S

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "training" / "training-data.md").read_text()
PLAIN, ADAPTER = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)

EPOCHS = """
from pathlib import Path
import sys
from adapter import SongBags
from torch.utils.data import DataLoader

if __name__ == "__main__":
    store, workers = sys.argv[1], int(sys.argv[2])
    bags = SongBags(store, "n_windows > 3", labels="n_windows", bag_size=4, batch_size=8, seed=3)
    context = "spawn" if workers else None
    for bags.epoch in (0, 1):
        loader = DataLoader(bags, batch_size=None, num_workers=workers, multiprocessing_context=context)
        for windows, mask, labels in loader:
            assert windows.shape[1:] == (4, 13, 216) and windows.dtype.is_floating_point
            assert windows.isfinite().all() and mask.shape == windows.shape[:2]
            print(bags.epoch, round(float(windows.double().sum()), 3), *labels.tolist())
"""


def run(code: str, folder: Path, *arguments: object) -> str:
    (folder / "shown.py").write_text(code)
    command = [sys.executable, "shown.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bags_of_the_page_are_read(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(demo / "store")
    lines = run(PLAIN, tmp_path).splitlines()
    assert lines[0].startswith("0 0 (")
    assert lines[-1] in SongStore.open(demo / "store").songs(arrow=True)["song_id"].to_pylist()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("workers", [0, 2])
def test_pytorch_gets_every_song_once_an_epoch(demo: Path, tmp_path: Path, workers: int) -> None:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    lines = [line.split() for line in run(EPOCHS, tmp_path, demo / "store", workers).splitlines()]
    songs = SongStore.open(demo / "store").songs("n_windows > 3", arrow=True)["n_windows"].to_pylist()
    for epoch in "01":
        assert sorted(int(n) for line in lines if line[0] == epoch for n in line[2:]) == sorted(songs)
    assert {line[1] for line in lines if line[0] == "0"}.isdisjoint(line[1] for line in lines if line[0] == "1")


def test_the_adapter_has_at_most_forty_lines() -> None:
    assert len(ADAPTER.splitlines()) <= 40
