"""What songbag takes where an option of a training is open: settled when it begins, by the features and the songs."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from songbag_store import FeatureSpec
from songbag_store.format.spec import IN_DB

USUAL: dict[str, float] = {"band_shift": 0.04, "equalizer_db": 4.0, "band_mix": 0.7}
"""How the colour of songs is changed: docs/decisions/0079. In a run that was begun, None is 0: it had none."""

FOR = "MFCC and log-mel bands in windows of several frames"
"""Which features they can change."""

MEMBERS, MEASURED = 3, ("compact", "spectral")
"""How many networks are trained together where songs are few, and of which encoders: docs/decisions/0081."""

TREE_SHARE = 0.4
"""How much trees count beside networks where songs are few, or up to 1,000 of MFCC: docs/decisions/0082."""

FEW_SONGS, SHORT_S, FEW_OF_SHORT = 200, 2.0, 1_000
"""Which songs are few: so many, or of windows of at most so many seconds more of them, because these take less time."""


def are_possible(spec: FeatureSpec) -> bool:
    """Return whether features can be changed by the options of `USUAL`."""
    return spec.n_frames > 1 and spec.kind in IN_DB


class Open:
    """Options of a training, some of which may be open: None. In a run that was begun, an open one changes nothing."""

    __slots__ = ()

    encoder: str
    members: int | None

    def settled(self, spec: FeatureSpec, n_songs: int, *, members: int | None = None) -> Self:
        """Return these options as a run keeps them, with what songbag takes today where one is open.

        The encoder is known by its name by now.

        Parameters
        ----------
        spec : FeatureSpec
            Of the windows.
        n_songs : int
            In the split.
        members : int, optional
            Of the run to start from.
        """
        few = FEW_OF_SHORT if spec.window_s <= SHORT_S else FEW_SONGS
        is_measured = self.encoder in MEASURED and are_possible(spec)
        are_few = is_measured and n_songs <= few
        # Who gives a number of networks, or starts from some, has these alone.
        have_trees = n_songs <= (FEW_OF_SHORT if spec.kind == "mfcc" else few)
        together = is_measured and have_trees and members is None and self.members is None
        today = {**dict.fromkeys(NONE), **(USUAL if are_possible(spec) else {})}
        today |= {"members": members or (MEMBERS if are_few else None)}
        today |= {"tree_share": TREE_SHARE if together else None}
        own = {name: getattr(self, name) if getattr(self, name) is not None else today[name] for name in NONE}
        return self._with({name: None if value == NONE[name] else value for name, value in own.items()})

    @property
    def as_begun(self) -> Self:
        """These options of a run or a plan, as they were meant when it was begun."""
        return self.going_on(self)

    def going_on(self, begun: object) -> Self:
        """Return these options with those of a training that was begun where one is open; what is open there is off."""
        own = {name: getattr(begun, name, None) or NONE[name] for name in NONE if getattr(self, name) is None}
        return self._with(own) if own and begun is not None else self

    def _with(self, own: dict[str, Any]) -> Self:
        options: Any = self  # a dataclass, which this class cannot say
        changed: Self = dataclasses.replace(options, **own)
        return changed


NONE: dict[str, float] = {**dict.fromkeys(USUAL, 0.0), "members": 1, "tree_share": 0.0}
"""Every option that may be open, and the value that changes nothing."""
