"""`Search`: which trainings a sweep has."""

from __future__ import annotations

import dataclasses

from songbag_store.format.declaration import Declared, between, declared


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search(Declared):
    """The trainings of a sweep: docs/how-to/training/many-trainings.md."""

    set: tuple[str, ...] = declared(
        (),
        "Values of an option of `songbag train` to try: pooling=mean,max; with `random` also a range, "
        "learning-rate=1e-4..1e-2. For each option; every combination is a point.",
        metavar="NAME=A,B",
    )
    random: int | None = declared(
        None, "Draw this many points at random, by the seed.", rule=between(1, 10_000), absent="all combinations"
    )
    halving: bool = declared(
        False, "Stop the worse half of the points early, and again after twice the epochs, by their validation songs."
    )
