"""Options that change the training songs: how they are declared."""

from __future__ import annotations

from functools import partial
from typing import Any

from songbag_store.format.declaration import at_least, between, declared
from songbag_training.usual import USUAL

PANEL = "How the training songs are changed (0 turns it off)"
change = partial(declared, panel=PANEL)


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
