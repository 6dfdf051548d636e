"""What the vectors of a pretrained network reach on ESC-10 beside songbag's defaults, and what they cost.

    pip install --no-deps musicnn==0.1.0
    python -m benchmarks.musicnn FOLDER WORK [--only defaults|penultimate|pooled]

FOLDER and WORK are those of `benchmarks.esc10`; run it in the root of the repository, where `examples` lies. Everything
is done again, so WORK must not hold it yet. Each recipe is extracted once and cross-validated over the five given folds
with the default training. The table has the mean over folds of accuracy and log loss of songs, the time of extraction
for an hour of audio, and the time of training of all five folds, in seconds by the clock.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.esc10 import FOLDS, LOGMEL, extracted, songbag, told
from songbag_store import SongStore

WINDOWS = ("--window", "3", "--window-hop", "2")
RECIPES = {
    "defaults": LOGMEL,
    "penultimate": ("--features", "examples.musicnn_vectors:Penultimate", *WINDOWS),
    "pooled": ("--features", "examples.musicnn_vectors:Pooled", *WINDOWS),
}


def main() -> None:
    """Print a line a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", action="append", choices=RECIPES)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    lines = [measured(chosen.folder, chosen.work, name) for name in chosen.only or RECIPES]
    print("", *lines, sep="\n")


def measured(folder: Path, work: Path, name: str) -> str:
    """Extract and cross-validate by one recipe; return its line."""
    began = time.perf_counter()
    store = extracted(folder, work, f"musicnn-{name}", RECIPES[name])
    extraction_s = time.perf_counter() - began
    hours = SongStore.open(store).songs()["duration_s"].sum() / 3600
    output, began = work / f"musicnn-{name}-folds", time.perf_counter()
    songbag("cross-validate", store, "--label", "label", "--fold-column", "fold", "-o", output)
    training_s = time.perf_counter() - began
    tests = [json.loads((output / f"fold-{fold}" / "metrics.json").read_bytes())["test"]["song"] for fold in FOLDS]
    accuracy, log_loss = (told([test[metric] for test in tests]) for metric in ("accuracy", "log_loss"))
    costs = f"extraction {extraction_s / hours:.0f} s an hour of audio, training {training_s:.0f} s"
    return f"{name:12} accuracy {accuracy}, log loss {log_loss}; {costs}"


if __name__ == "__main__":
    main()
