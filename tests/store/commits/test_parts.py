from __future__ import annotations

import pyarrow as pa

from songbag_store.commits.parts import PackedParts
from tests.support.stores import part


def test_packed_rows_come_back_as_they_were_in_less_space() -> None:
    packed, before = PackedParts(), pa.total_allocated_bytes()
    rows = part("f", dict.fromkeys(f"{i:06}" for i in range(4096)), text=["the same"] * 4096)
    given = pa.total_allocated_bytes() - before
    packed.pack("f", rows.slice(0, 4000))
    packed.pack("g", rows.slice(4000))
    assert list(packed) == ["f", "g"]
    assert pa.concat_tables(packed.values()).equals(rows)
    assert pa.total_allocated_bytes() - before - given < given / 4
