"""What the index says of the songs' sound: summed up for `info`, and the notes of `failures`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.format.sealed import Sealed
from songbag_store.terminal import plain_text
from songbag_store.words import counted

LOST_FROM = 0.9
CLIPPED_FROM = 0.001
SILENT_FROM = 0.5
SAME_BELOW = 1e-3
LOSSLESS = ("flac", "ogg-flac", "wav", "w64", "aiff", "wavpack", "tta", "ape", "tak")
FULL_RATE_HZ = 44_100
LOW_HZ = 18_000

_COLUMNS = (
    "status",
    "sample_peak",
    "cancelled_share",
    "clipped_share",
    "silent_share",
    "side_share",
    "source_format",
    "source_sample_rate_hz",
    "highest_hz",
)
_MOST_NAMED = 20


def sound_counts(index: Sealed) -> dict[str, int]:
    """Count songs by their sound. Only the columns in question are decoded, a group of rows at a time.

    Parameters
    ----------
    index : Sealed
        A snapshot's file.

    Returns
    -------
    counts : dict of str to int
        Songs that were `measured`; that are `lost_in_mono` (at least 90 % of their sound is cancelled in the mix),
        `clipped` (in more than 0.1 % of their samples) or `mostly_silent`; that have `several_channels`, and of these
        `same_in_all`; files in `lossless` formats of at least 44.1 kHz, and of these with `nothing_high`: no content
        above 18 kHz.
    """
    total = Counter(_counts(index.schema.empty_table()))
    for counts in index.each(_counts, list(_COLUMNS)):
        total.update(counts)
    return dict(total)


def _counts(rows: pa.Table) -> dict[str, int]:
    """Return the counts of `sound_counts` for some rows."""
    songs = rows.filter(pc.equal(rows["status"], "ok"))
    is_known = pc.and_(pc.greater_equal(songs["source_sample_rate_hz"], FULL_RATE_HZ), pc.is_valid(songs["highest_hz"]))
    lossless = pc.and_(pc.is_in(songs["source_format"], value_set=pa.array(LOSSLESS)), is_known)
    found = {
        "measured": pc.is_valid(songs["sample_peak"]),
        "lost_in_mono": _is_lost(songs),
        "clipped": pc.greater(songs["clipped_share"], CLIPPED_FROM),
        "mostly_silent": pc.greater(songs["silent_share"], SILENT_FROM),
        "several_channels": pc.is_valid(songs["side_share"]),
        "same_in_all": pc.less(songs["side_share"], SAME_BELOW),
        "lossless": lossless,
        "nothing_high": pc.and_(lossless, pc.less(songs["highest_hz"], LOW_HZ)),
    }
    return {name: pc.sum(own).as_py() or 0 for name, own in found.items()}


def _is_lost(songs: pa.Table) -> pa.ChunkedArray:
    return pc.greater_equal(songs["cancelled_share"], LOST_FROM)


def describe_sound(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield what `sound_counts` returned, as names and values to read; nothing for what no song has."""
    if n := counts["lost_in_mono"]:
        told = f"the channels cancel each other in the mix; songbag failures names {'it' if n == 1 else 'them'}"
        yield "lost in mono", f"{counted(n, 'song')}: {told}"
    if n := counts["clipped"]:
        yield "clipped", f"{counted(n, 'song')}, in more than {CLIPPED_FROM:.1%} of the samples"
    if n := counts["mostly_silent"]:
        yield "silent", f"{counted(n, 'song')}, for more than half of the time"
    if n := counts["same_in_all"]:
        several = counted(counts["several_channels"], "song")
        yield "mono", f"{n:,} of {several} with several channels: they are all the same"
    if n := counts["nothing_high"]:
        files = f"{n:,} of {counted(counts['lossless'], 'lossless file')}"
        yield "perhaps lossy", f"{files}: nothing above {LOW_HZ // 1000} kHz, as if made from MP3"


def lost_songs_text(index: Sealed) -> str:
    """Return a note with the songs that were stored and that the mix to mono silences; empty if there are none."""
    named: list[str] = []
    n_lost = 0
    for piece in index.pieces(["song_id", "status", "cancelled_share"]):
        lost = piece.filter(pc.and_(pc.equal(piece["status"], "ok"), _is_lost(piece)))["song_id"]
        n_lost += len(lost)
        named += lost.slice(0, _MOST_NAMED - len(named)).to_pylist()
    if not n_lost:
        return ""
    lines = [
        f"Stored, but lost in the mix to mono ({n_lost:,}): the channels cancel each other, so that the features are "
        "those of silence or of what is left. Invert one channel of the file, or leave the song out."
    ]
    lines += [f"  {plain_text(song_id)}" for song_id in named]
    if n_lost > len(named):
        query = f"select song_id from songs where cancelled_share >= {LOST_FROM}"
        lines.append(f'  ... and {n_lost - len(named):,} more: songbag query STORE "{query}"')
    return "\n".join(lines)
