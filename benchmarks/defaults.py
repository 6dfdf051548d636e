"""What the defaults reach on public collections, with several seeds: every fold tested by what learned from the others.

    python -m benchmarks.defaults ESC-10 FSDD WORK [--seeds 0 1 2] [--members N] [--only NAME]

ESC-10 is the folder as it is distributed: a folder a class, the first character of a file's name its fold. FSDD is
the manifest of the free spoken digit dataset (path, song_id, digit, speaker): every speaker is a fold. WORK takes
stores and cross-validations; what is finished there is not done again, and what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.esc10 import LOGMEL, SHORT_WINDOWS, extracted, songbag

ESC10 = ("--label", "label", "--fold-column", "fold")
DIGITS = ("--label", "digit", "--fold-column", "speaker")


def main() -> None:
    """Print a line for each collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("esc10", type=Path)
    parser.add_argument("fsdd", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--members", type=int)
    parser.add_argument("--only", choices=["esc10", "esc10-mfcc", "digits"])
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    for name, store, options in stores(asked.esc10, asked.fsdd, asked.work):
        if asked.only in (None, name):
            print(name, told(store, options, asked.work / name, asked.seeds, asked.members), flush=True)


def stores(esc10: Path, fsdd: Path, work: Path) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield name, store and what to learn of each collection; a store is made when it is first asked for."""
    yield "esc10", extracted(esc10, work, "logmel-5s", LOGMEL), ESC10
    yield "esc10-mfcc", extracted(esc10, work, "mfcc-1s", SHORT_WINDOWS), ESC10
    songbag("extract", fsdd, work / "digits-store", *LOGMEL, *SHORT_WINDOWS)
    yield "digits", work / "digits-store", DIGITS


def told(store: Path, options: tuple[str, ...], folder: Path, seeds: list[int], members: int | None) -> str:
    """Return accuracy and log loss as text: the mean over seeds, then each seed's mean over its folds."""
    found = []
    for seed in seeds:
        output = folder.with_name(f"{folder.name}-{members or 'usual'}-{seed}")
        if not (output / "metrics.json").is_file():
            begun = ("--resume",) if (output / "cross-validation.json").is_file() else (*options, "--seed", seed)
            several = ("--members", members) if members and "--resume" not in begun else ()
            songbag("cross-validate", store, *begun, *several, "--no-floor", "-o", output)
        found.append(json.loads((output / "metrics.json").read_bytes())["pooled"])
    return "  ".join(
        f"{metric} {statistics.mean(values):.3f} ({' '.join(f'{value:.3f}' for value in values)})"
        for metric in ("accuracy", "log_loss")
        if (values := [one[metric] for one in found])
    )


if __name__ == "__main__":
    main()
