"""songbag beside its peers: install them, measure, write the page.

python -m benchmarks.peers install
python -m benchmarks.peers run [--scale full|quick] [--question NAME ...] [--only PEER ...]
    [--esc10 FOLDER] [--results FOLDER]
python -m benchmarks.peers report
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import QUESTIONS, environments, page, results
from benchmarks.peers.contest import Setting


def main(arguments: list[str] | None = None) -> None:
    """Do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["install", "run", "report"])
    parser.add_argument("--scale", choices=["full", "quick", "tiny"], default="full")
    parser.add_argument("--question", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    parser.add_argument("--only", nargs="+", metavar="PEER", help="these peers beside songbag, not all")
    parser.add_argument("--results", type=Path, default=results.RESULTS, help="the folder of the JSON")
    parser.add_argument("--esc10", type=Path, help="a folder of ESC-10's songs, for the time to a score")
    options = parser.parse_args(arguments)
    if options.what == "install":
        environments.install()
    elif options.what == "report":
        page.write(options.results)
    else:
        for name in options.question:
            run(name, options)


def run(name: str, options: argparse.Namespace) -> None:
    """Measure one question and write its result."""
    began = time.perf_counter()

    def say(line: str) -> None:
        print(f"songbag: {name}, {time.perf_counter() - began:4.0f} s: {line}", flush=True)

    question: Any = importlib.import_module(f"benchmarks.peers.{name}.question")
    own, *others = question.PEERS
    peers = [own, *(peer for peer in others if options.only is None or peer.name in options.only)]
    with tempfile.TemporaryDirectory(prefix=f"songbag-{name}-") as folder:
        tables, missing = question.run(
            Setting(scale=options.scale, peers=peers, folder=Path(folder), say=say, esc10=options.esc10)
        )
    path = results.write(results.document(name, options.scale, tables, missing), options.results)
    for who, why in missing.items():
        say(f"missing: {who}: {why}")
    say(f"wrote {path.name}")


if __name__ == "__main__":
    main()
