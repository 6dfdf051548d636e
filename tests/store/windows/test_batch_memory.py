from __future__ import annotations

import numpy as np

from songbag_store.format.spec import FeatureSpec
from songbag_store.windows.batch_memory import BatchMemory
from tests.support.stores import MakeStore, sixteenths


def test_memory_is_handed_out_again_when_nobody_looks_at_it() -> None:
    memory = BatchMemory()
    first = memory.take(1000)
    address = first.__array_interface__["data"][0]
    assert address % 64 == 0
    view = memoryview(first.view(np.int16).reshape(5, 100)[2])
    del first
    second = memory.take(1000)
    assert not np.shares_memory(second, np.asarray(view))
    del view
    third = memory.take(900)
    assert third.__array_interface__["data"][0] == address
    assert not np.shares_memory(second, third)


def test_what_is_too_large_to_be_kept_is_handed_out_all_the_same() -> None:
    memory = BatchMemory()
    assert memory.take(200 << 20).nbytes == 200 << 20
    assert memory._n_kept_bytes == 0


def test_a_part_of_a_batch_that_somebody_holds_is_never_written_over(
    make_store: MakeStore, rng: np.random.Generator
) -> None:
    spec = FeatureSpec(window_s=0.5, n_mels=40)
    store = make_store({f"{n:02}": sixteenths(rng, 6, spec.window_shape) for n in range(24)}, spec=spec)
    bags = store.bags(bag_size=3, batch_size=4)
    held = [(batch.windows[1], batch.windows[1].copy()) for batch in bags.batches(stop_epoch=6)]
    assert len(held) == 36
    for part, as_it_was in held:
        np.testing.assert_array_equal(part, as_it_was)
    dropped = [batch.windows.sum() for batch in bags.batches(stop_epoch=6)]
    assert dropped == [batch.windows.sum() for batch in store.bags(bag_size=3, batch_size=4).batches(stop_epoch=6)]
