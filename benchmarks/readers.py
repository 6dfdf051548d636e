"""The reader of fragments, by threads and by processes, beside tensorstore: bags of 16 of 23 windows in random order.

    python -m benchmarks.readers [--songs 2000]

prints songs/s on the clock and per second of processor time, medians of rounds in which the contestants take turns, and
for how much of the time the batches of songbag's threads are waited for.
docs/decisions/0030 and 0031 draw on it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from benchmarks.measuring import processor_s
from benchmarks.stores import music_windows, write_store
from songbag_store import SongStore
from songbag_store.bags.bags import BagPlan, Bags
from songbag_store.format.keys import fragment_key
from songbag_store.windows.process import ProcessRule
from songbag_store.windows.reader import FragmentReader

ROUNDS = 9
AHEAD = 8


def main() -> None:
    """Print a line for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=2000)
    parser.add_argument("--store", type=Path, help="a store that was made before")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = SongStore.open(args.store) if args.store else write_store(Path(folder), music_windows(args.songs))
        bags, beside = _bags(store, ProcessRule(n_processes=0)), _read_beside(store)
        arrays = {name: _opened(store, name) for name in bags._names}
        contestants: dict[str, Callable[[], Iterator[Any]]] = {
            "songbag": lambda: bags.batches(stop_epoch=1),
            "songbag, by processes": lambda: beside.batches(stop_epoch=1),
            "tensorstore, a future a song": lambda: _ahead(bags, lambda plan: _by_song(bags, arrays, plan)),
            "tensorstore, the same in a Batch": lambda: _ahead(bags, lambda plan: _by_song(bags, arrays, plan, True)),
            "tensorstore, the rows alone": lambda: _ahead(bags, lambda plan: _by_rows(bags, arrays, plan)),
        }
        _compare(contestants)
        print(f"of the time of songbag's threads their batches were waited for: {bags._reader._waiting.latest}")


def _bags(store: SongStore, rule: ProcessRule) -> Bags:
    reader = FragmentReader(store.inside.storage, store.spec, rule=rule)
    return Bags(reader, store.songs(arrow=True), bag_size=16, batch_size=32)


def _read_beside(store: SongStore) -> Bags:
    """Return bags of a reader of its own, whose processes are ready."""
    bags = _bags(store, ProcessRule(after_bytes=0, waiting_share=0.0))
    while not (bags._reader._processes and all(one.is_ready() for one in bags._reader._processes)):
        assert bags._reader.rule.n_processes > 1, "processes read where there are two cores or more"
        bags.batch(0, 0)
    return bags


def _compare(contestants: dict[str, Callable[[], Iterator[Any]]]) -> None:
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, run in contestants.items():
            clock, processor = time.perf_counter(), processor_s()
            n_songs = sum(len(batch.songs) for batch in run())
            if number:
                took = time.perf_counter() - clock, processor_s() - processor
                rates[name].append((n_songs / took[0], n_songs / took[1]))
    own = rates["songbag"]
    for name, pairs in rates.items():
        clock, processor = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in zip(own, pairs, strict=True))
        print(f"{name:34} {clock:7,.0f} songs/s {processor:7,.0f} a second of processor  songbag is {ratio:.1f} x")


def _opened(store: SongStore, fragment: str) -> Any:
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{store.address}/{fragment_key(fragment)}/"},
        "fill_missing_data_reads": False,
        "recheck_cached_metadata": "open",
        "recheck_cached_data": "open",
    }
    # No cache of unpacked chunks: a bag comes once an epoch.
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
    return tensorstore.open(spec, open=True, context=context).result()


def _ahead(bags: Bags, begin: Callable[[BagPlan], Callable[[], Any]]) -> Iterator[Any]:
    """Yield plans whose windows were read, with others under way."""
    under_way: deque[tuple[BagPlan, Callable[[], Any]]] = deque()
    for plan in bags.plans(stop_epoch=1):
        under_way.append((plan, begin(plan)))
        if len(under_way) == AHEAD:
            done, finish = under_way.popleft()
            finish()
            yield done
    for done, finish in under_way:
        finish()
        yield done


def _by_song(bags: Bags, arrays: dict[str, Any], plan: BagPlan, batched: bool = False) -> Callable[[], Any]:
    """Read every song whole, and take the bag's windows."""
    batch = tensorstore.Batch() if batched else None
    spans = bags._spans(plan)
    pending = [arrays[s.fragment][s.row_start : s.row_start + s.n_windows].read(batch=batch) for s in spans]
    if batch is not None:
        batch.submit()

    def finish() -> Any:
        out = np.empty((*plan.windows.shape, 13, 216), np.int16)
        for one, drawn, bag in zip(pending, plan.windows, out, strict=True):
            np.take(one.result(), drawn, axis=0, out=bag, mode="clip")
        return out

    return finish


def _by_rows(bags: Bags, arrays: dict[str, Any], plan: BagPlan) -> Callable[[], Any]:
    """Read the bag's windows alone, straight into the batch."""
    out = np.empty((*plan.windows.shape, 13, 216), np.int16)
    writes = [
        tensorstore.array(bag).write(arrays[span.fragment][drawn + span.row_start])
        for span, drawn, bag in zip(bags._spans(plan), plan.windows, out, strict=True)
    ]

    def finish() -> Any:
        for one in writes:
            one.result()
        return out

    return finish


if __name__ == "__main__":
    main()
