"""What 10^5, 10^6 and 10^7 songs cost, computed from figures that the documentation has measured.

    python -m benchmarks.costs

prints the table of docs/explanation/scale.md. Each figure names the page and the words in which it stands there, and a
test holds that they do. What was measured at one size is taken in proportion to the songs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

SONGS = (10**5, 10**6, 10**7)
SONG_S = 240
"""The one assumption: songs of four minutes."""

WINDOW_S, WINDOW_HOP_S, VALUES = 5.0, 2.5, 13 * 216
SHARDS = 3
"""Of a full fragment: 192 MiB of int16 in shards of 64 MiB."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A measured number and where it stands."""

    value: float
    page: str
    words: str


SPEED, SCALE, DATA = "explanation/speed.md", "explanation/scale.md", "how-to/training/training-data.md"
BENCHMARKS = "explanation/benchmarks.md"
MINUTE_MS = Figure(65.1, SPEED, "| MP3 | 47.7 (47.7) | 41.0 (41.0) | 65.1 (65.2) |")
BESIDE = Figure(2.9, SPEED, "2.9 % of the workers' time")
OF_FLOAT32 = Figure(0.326, DATA, "A store takes 0.326 of raw float32")
STREAMED = Figure(13_413, BENCHMARKS, "| **songbag** (this checkout) | 13,413 (")
INDEX_BYTES = Figure(152, SCALE, "A song takes 152 bytes on disk")
THOUSAND_S = Figure(3.3, SPEED, "| 1,000 | 3.3 |")
HUNDRED_THOUSAND_S = Figure(30.8, SPEED, "| 100,000 | 30.8 |")
OPEN_S = Figure(1.68, SCALE, "| `open` and `info` | 1.68 s |")
PLAN_S = Figure(12.7, SCALE, "a million `stat` | 12.7 s | 12.8 s | 0.79 GB |")
PLAN_GB = Figure(0.79, SCALE, "a million `stat` | 12.7 s | 12.8 s | 0.79 GB |")
COMMIT_S = Figure(3.3, SCALE, "| committing the index | 3.3 s |")
FRAGMENT_MIB = Figure(192, "explanation/scale.md", "at most 192 MiB of windows")
REQUESTS = Figure(1, "decisions/0010-reading-object-stores.md", "A song costs one request, after two for its fragment")
FIGURES = (MINUTE_MS, BESIDE, OF_FLOAT32, STREAMED, INDEX_BYTES, THOUSAND_S, HUNDRED_THOUSAND_S, OPEN_S, PLAN_S)
FIGURES += (PLAN_GB, COMMIT_S, FRAGMENT_MIB, REQUESTS)


def song_s() -> float:
    """Return the processor's seconds of a song's extraction."""
    return SONG_S / 60 * MINUTE_MS.value / 1000 / (1 - BESIDE.value / 100)


def client_s() -> float:
    """Return the seconds that a run's client and scheduler take for a song, without their start."""
    return (HUNDRED_THOUSAND_S.value - THOUSAND_S.value) / (100_000 - 1_000)


def windows() -> int:
    """Return the windows of a song."""
    return 1 + int((SONG_S - WINDOW_S) / WINDOW_HOP_S)


def fragments(songs: int) -> float:
    """Return the fragments of so many songs."""
    return songs * windows() * VALUES * 2 / (FRAGMENT_MIB.value * 2**20)


def rows() -> list[tuple[str, str, list[str]]]:
    """Return what costs, how it is computed, and the values."""
    millions = [songs / 10**6 for songs in SONGS]
    of_song = windows() * VALUES * 4 * OF_FLOAT32.value
    objects = [fragments(songs) * (SHARDS + 2) for songs in SONGS]
    return [
        ("extraction, core hours", "4 x 65.1 ms, 2.9 % beside", _numbers(n * song_s() / 3600 for n in SONGS)),
        ("features", f"{windows()} windows, 0.326 of float32", [_bytes(n * of_song) for n in SONGS]),
        ("index, one snapshot", "152 bytes", [_bytes(n * INDEX_BYTES.value) for n in SONGS]),
        ("fragments", "192 MiB of windows", _numbers(map(fragments, SONGS))),
        ("objects written", "3 shards, metadata and part of each", _numbers(objects)),
        ("client and scheduler, seconds", "(30.8 - 3.3) s of 99,000", _numbers(n * client_s() for n in SONGS)),
        ("a commit, seconds", "3.3 s of a million", _numbers(n * COMMIT_S.value for n in millions)),
        ("plan, seconds", "12.7 s of a million", _numbers(n * PLAN_S.value for n in millions)),
        ("plan, memory", "0.79 GB of a million", [_bytes(n * PLAN_GB.value * 1e9) for n in millions]),
        ("open, seconds", "1.68 s of a million", _numbers(n * OPEN_S.value for n in millions)),
        ("requests of an epoch from a bucket", "one a song", _numbers(n * REQUESTS.value for n in SONGS)),
        ("reading an epoch from disk, seconds", "13,413 songs/s", _numbers(n / STREAMED.value for n in SONGS)),
    ]


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| | a song, or what was measured | 100,000 songs | 1,000,000 | 10,000,000 |", "|---|---|---:|---:|---:|"]
    lines += [f"| {name} | {how} | {' | '.join(values)} |" for name, how, values in rows()]
    return "\n".join(lines)


def most_workers() -> int:
    """Return how many workers one client keeps busy: what a song takes a worker over what it takes the client."""
    return int(round(song_s() / client_s(), -1))


def _numbers(values: Iterable[float]) -> list[str]:
    return [f"{value:,.0f}" if value >= 100 else f"{value:.2g}" for value in values]


def _bytes(value: float) -> str:
    unit, size = next((unit, size) for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if value >= size)
    return f"{value / size:.3g} {unit}"


def main() -> None:
    """Print the table and the limit of a client."""
    print(table())
    print(f"\n{1 / client_s():,.0f} songs/s, {most_workers():,} workers")


if __name__ == "__main__":
    main()
