"""Options that change the training songs: how they are declared, what songbag takes where none is given."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Self

from songbag_store import FeatureSpec
from songbag_store.format.declaration import at_least, between, declared
from songbag_store.format.spec import IN_DB

PANEL = "How the training songs are changed (0 turns it off)"
change = partial(declared, panel=PANEL)

USUAL: dict[str, float] = {"band_shift": 0.04, "equalizer_db": 4.0, "band_mix": 0.7}
"""What a training that begins takes where an option is None. In a run that was begun, None is 0: it had none."""

FOR = "MFCC and log-mel bands in windows of several frames"
"""Which features they can change."""


def gain_db(default: float, of: str) -> Any:
    """Declare the change of level of a song or a window."""
    return change(default, f"Standard deviation of a {of}'s change of level.", rule=at_least(0), unit="dB")


def time_mask(default: float) -> Any:
    """Declare the mask of frames."""
    return change(default, "Blank out a run of frames of a window, up to this share.", rule=between(0, 1))


def band_mask(default: float) -> Any:
    """Declare the mask of bands."""
    return change(default, "Blank out a run of bands of a window, up to this share.", rule=between(0, 1))


time_shift = partial(change, 1.0, "Roll the frames of a window, by up to this share of it.", rule=between(0, 1))
band_shift = partial(
    change,
    None,
    "Shift the mel bands of a song up or down, by up to this share of them.",
    rule=between(0, 1),
    absent=f"{USUAL['band_shift']:g}",
    later=True,
)
equalizer_db = partial(
    change,
    None,
    "Give a song a smooth random equaliser curve over its mel bands: its standard deviation.",
    rule=at_least(0),
    unit="dB",
    absent=f"{USUAL['equalizer_db']:g}",
    later=True,
)
band_mix = partial(
    change,
    None,
    "Move mean and deviation of each band or coefficient of a song towards those of another one, by up to this share.",
    rule=between(0, 1),
    absent=f"{USUAL['band_mix']:g}",
    later=True,
)


def are_possible(spec: FeatureSpec) -> bool:
    """Return whether features can be changed by the options of `USUAL`."""
    return spec.n_frames > 1 and spec.kind in IN_DB


def _settled(name: str, value: float | None, spec: FeatureSpec) -> float | None:
    """Return an option of `USUAL` as a run keeps it: with the usual value if it is open, and None if it is 0."""
    if value is None:
        value = USUAL[name] if are_possible(spec) else None
    return value or None


class Open:
    """Options of a training, some of which may be open: None."""

    __slots__ = ()

    def settled(self, spec: FeatureSpec) -> Self:
        """Return these options as a run keeps them, with what songbag takes today where one is open."""
        own = {name: _settled(name, getattr(self, name), spec) for name in USUAL}
        return self._with(own)

    @property
    def as_begun(self) -> Self:
        """These options of a run or a plan, as they were meant when it was begun."""
        return self.going_on(self)

    def going_on(self, begun: object) -> Self:
        """Return these options with those of a training that was begun where one is open; what is open there is 0."""
        own = {name: getattr(begun, name, None) or 0.0 for name in USUAL if getattr(self, name) is None}
        return self._with(own) if begun is not None else self

    def _with(self, own: dict[str, float | None]) -> Self:
        options: Any = self  # a dataclass, which this class cannot say
        changed: Self = dataclasses.replace(options, **own)
        return changed
