"""The exponents, the table and the plot of growth, and what a plan takes for each song."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.growth import source_of, write_index
from benchmarks.growth_page import above, exponents, plot, table
from songbag_pipeline.run.plan import Plan
from songbag_store import SongStore


def measured(power: float, constant: float = 0.0) -> dict[str, object]:
    points = [
        {"what": "work", "unit": "s", "songs": n, "value": constant + 0.001 * n**power} for n in (10**3, 10**4, 10**5)
    ]
    points.append({"what": "snapshots", "unit": "", "songs": 10**3, "value": 2.0})
    return {"points": points, "machine": {}}


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    found = exponents({n: 3.0 * n**power for n in (10**3, 10**4, 10**6)})
    assert found == pytest.approx((power, power))
    assert exponents({1000: 1.0}) is None


def test_the_last_decade_shows_what_a_constant_hides() -> None:
    values = {n: 50.0 + 1e-9 * n**2 for n in (10**3, 10**4, 10**5, 10**6)}
    fitted, last = exponents(values) or (0.0, 0.0)
    assert fitted < 1.05 < last
    assert list(above(measured(1.0), 1.05)) == []
    (line,) = above(measured(1.2), 1.05)
    assert line == "work: 1.20, 1.20 in the last decade"


def test_table_and_plot_are_made_of_the_result_alone() -> None:
    found = measured(1.0)
    assert table(found).splitlines()[2:] == [
        "| work | 1.00 s | 10.00 s | 100 s | 1.00 | 1.00 |",
        "| snapshots | 2 |  |  |  |  |",
    ]
    assert plot(found).startswith("<?xml")


POOLS: list[pa.MemoryPool] = []
"""They must outlive what was allocated from them."""


def peak_bytes(folder: Path, n_songs: int) -> int:
    """Return what Arrow takes for the plan of a run that has nothing to do."""
    write_index(folder, n_songs)
    store = SongStore.open(folder)
    source, pool = source_of(store), pa.default_memory_pool()
    POOLS.append(pa.proxy_memory_pool(pool))
    pa.set_memory_pool(POOLS[-1])
    try:
        planned = Plan.of(source, store.inside.state.content)
        assert (planned.n_known, planned.todo.num_rows) == (n_songs, 0)
    finally:
        pa.set_memory_pool(pool)
    return int(POOLS[-1].max_memory())


def test_a_plan_takes_its_two_columns_of_ids_and_not_the_index(tmp_path: Path) -> None:
    few, many = 10_000, 30_000
    grown = peak_bytes(tmp_path / "many", many) - peak_bytes(tmp_path / "few", few)
    # An id has 38 bytes here, a digest 64, and a row of the index 700.
    assert grown / (many - few) < 200
