"""Distributions of a collection for its page, counted in one pass over the columns of the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.index import CONTENT, END, START, recordings
from songbag_store.pages.pieces import Axis, Block, Chart, Layer, Words
from songbag_store.store import SongStore
from songbag_store.words import counted

_BINS = 30
_NARROWEST = 0.03
"""Least range of a histogram, as a share of its largest number."""
_MOST_BARS = 24
_NUMBERS = {
    "duration_s": ("Length of the songs", "seconds"),
    "highest_hz": ("Highest frequency with content", "Hz"),
    "sample_peak": ("Highest sample", "of full scale"),
    "silent_share": ("Share of a song that is silent", "share"),
}
_KINDS = {
    "source_format": "Formats of the files",
    "source_sample_rate_hz": "Sample rates of the files, in Hz",
    "channels": "Channels of the files",
}


def distributions(store: SongStore) -> list[Block]:
    """Return a chart for each number and each kind that the index knows of the songs.

    Memory holds four numbers for each song.
    """
    numbers: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in _NUMBERS}
    kinds: dict[str, Counter[str]] = {name: Counter() for name in _KINDS}
    for piece in store.inside.state.content.pieces([*_NUMBERS, *_KINDS, "status"]):
        songs = piece.filter(pc.field("status") == "ok")
        for name, found in numbers.items():
            values = songs[name].cast(pa.float32()).to_numpy()
            found.append(values[np.isfinite(values)])
        for name, counts in kinds.items():
            for one in pc.value_counts(songs[name].combine_chunks()).to_pylist():
                if one["values"] is not None:
                    counts[str(one["values"])] += one["counts"]
    charts: list[Block] = []
    for name, (title, unit) in _NUMBERS.items():
        values = np.concatenate(numbers[name]) if numbers[name] else np.empty(0, np.float32)
        if len(values):
            charts.append(_histogram(name, f"{title}: {_spread(values, unit)}", unit, values))
    for name, title in _KINDS.items():
        if kinds[name]:
            charts.append(bars(name, title, dict(kinds[name].most_common())))
    return charts or [Words("The index knows nothing of the songs' files.")]


def _spread(values: npt.NDArray[np.float32], unit: str) -> str:
    low, middle, high = np.quantile(values.astype(np.float64), [0, 0.5, 1])
    of = "" if unit == "share" else f" {unit}"
    return f"{_shown(low)} to {_shown(high)}{of}, half of the {counted(len(values), 'song')} up to {_shown(middle)}."


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _histogram(key: str, words: str, unit: str, values: npt.NDArray[np.float32]) -> Chart:
    own = values.astype(np.float64)
    # One recording of a day would put all others into one bar.
    high = float(np.quantile(own, 0.99))
    high = float(own.max()) if own.max() <= 1.5 * high else high
    cut = int((own > high).sum())
    low = float(own.min())
    # A page has five digits of a number: bars of a narrower range would have no width.
    narrow = max(0.0, _NARROWEST * max(abs(low), abs(high)) - (high - low)) / 2
    counts, ends = np.histogram(own[own <= high], bins=_BINS, range=(low - narrow, high + narrow))
    if cut:
        words += f" {counted(cut, 'song')} above {_shown(high)} not drawn."
    columns = {
        "left": ends[:-1].tolist(),
        "right": ends[1:].tolist(),
        "bottom": [0] * _BINS,
        "top": counts.tolist(),
    }
    tips = (("from", "@left{0,0.[00]}"), ("to", "@right{0,0.[00]}"), ("songs", "@top{0,0}"))
    layers = [Layer("bars", columns, tips=tips)]
    return Chart(f"number-{key}", words, layers, x=Axis(unit), y=Axis("songs", counts=True), height=210)


def bars(key: str, words: str, counts: Mapping[str, int]) -> Chart:
    """Return counts of names as bars, at most 24 of them."""
    shown = list(counts.items())[:_MOST_BARS]
    if len(counts) > len(shown):
        words += f" The first {len(shown)} of {len(counts):,}."
    rows: Sequence[int] = range(len(shown))
    columns: dict[str, Sequence[Any]] = {
        "left": [0] * len(shown),
        "right": [n for _, n in shown],
        "bottom": [row - 0.4 for row in rows],
        "top": [row + 0.4 for row in rows],
        "name": [name for name, _ in shown],
    }
    layer = Layer("bars", columns, tips=(("", "@name"), ("songs", "@right{0,0}")))
    most = max(n for _, n in shown)
    axis = Axis("", (len(shown) - 0.4, -0.6), [name for name, _ in shown])
    songs, height = Axis("songs", (0, 1.05 * most), counts=True), 70 + 26 * len(shown)
    return Chart(f"kind-{key}", words, [layer], x=songs, y=axis, height=height)


def same_files(store: SongStore) -> int:
    """Return how many songs are byte for byte a song that is there already; memory holds their digests."""
    known: set[bytes] = set()
    n_known = 0
    for piece in store.inside.state.content.pieces(["status", CONTENT, START, END]):
        songs = piece.filter(pc.field("status") == "ok")
        for one in recordings(songs).to_pylist():
            if one is not None:
                n_known += 1
                known.add(bytes.fromhex(one) if len(one) == 64 else one.encode())
    return n_known - len(known)
