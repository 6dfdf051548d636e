"""Files with one changed bit, or cut off."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from tests.support.long import LONG

N_BITS = 1500 if LONG else 24
N_CUTS = 200 if LONG else 4


def seeded() -> random.Random:
    """Return a generator whose seed is printed, and may be given as SONGBAG_SEED."""
    seed = int(os.environ.get("SONGBAG_SEED") or random.SystemRandom().randrange(2**32))
    print(f"SONGBAG_SEED={seed}")
    return random.Random(seed)


def damaged(path: Path, chance: random.Random, n_bits: int | None = None, n_cuts: int | None = None) -> Iterator[str]:
    """Damage a file in one way after the other; yield what was done to it, and leave it as it was.

    In a long test, every bit of a small file is changed once.
    """
    data = path.read_bytes()
    n_bits, n_cuts = (N_BITS if n_bits is None else n_bits), (N_CUTS if n_cuts is None else n_cuts)
    try:
        for bit in sorted(chance.sample(range(8 * len(data)), min(n_bits, 8 * len(data)))):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            yield f"{path.name}: bit {bit % 8} of byte {bit // 8}"
        for length in chance.sample(range(len(data)), min(n_cuts, len(data))):
            path.write_bytes(data[:length])
            yield f"{path.name}: cut to {length} bytes"
    finally:
        path.write_bytes(data)
