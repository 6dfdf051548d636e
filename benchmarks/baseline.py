"""How good baselines are, and how long they take: ESC-10 as log-mel and as MFCC, spoken digits by speaker.

    python -m benchmarks.baseline ESC10 FSDD WORK

ESC10 holds ESC-10 as it is distributed, see `benchmarks.esc10`; FSDD a folder with manifest.csv (path, song_id, digit,
speaker) and the recordings. WORK takes stores and runs; stores that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

from benchmarks.esc10 import LOGMEL, SHORT_WINDOWS, extracted, songbag


def main() -> None:
    """Print accuracy per fold, and seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc10", type=Path)
    parser.add_argument("fsdd", type=Path)
    parser.add_argument("work", type=Path)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    show(extracted(chosen.esc10, chosen.work, "logmel-5s", LOGMEL), "label", "fold", chosen.work)
    show(extracted(chosen.esc10, chosen.work, "mfcc-1s", SHORT_WINDOWS), "label", "fold", chosen.work)
    digits = chosen.work / "digits"
    songbag("extract", chosen.fsdd / "manifest.csv", digits, *LOGMEL, *SHORT_WINDOWS)
    show(digits, "digit", "speaker", chosen.work)


def show(store: Path, label: str, fold_column: str, work: Path) -> None:
    """Cross-validate baselines, and print the accuracy of each fold and the seconds of the whole command."""
    folder = work / f"baseline-{store.name}"
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    songbag("baseline", store, "--label", label, "--fold-column", fold_column, "-o", folder)
    seconds = time.perf_counter() - began
    metrics = json.loads((folder / "metrics.json").read_bytes())
    folds = ", ".join(f"{name} {own['accuracy']:.3f}" for name, own in metrics["folds"].items())
    print(f"{store.name}: accuracy {metrics['mean']['accuracy']:.3f} ({folds}), {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
