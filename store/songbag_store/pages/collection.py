"""The page of a collection: what a store holds."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from songbag_store.pages.distributions import bars, distributions, same_files
from songbag_store.pages.page import Page, Section
from songbag_store.pages.pieces import Block, Column, Facts, Figure, Figures, Place, Table, Words, plain
from songbag_store.pages.songs import MOST_ON_MAP, SongMap, VectorsOf, pictures, shown_values, song_map
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.sound import CLIPPED_FROM, LOST_FROM, LOW_HZ, SILENT_FROM
from songbag_store.upkeep.summary import describe, failures, info
from songbag_store.words import counted

_MOST_FAILURES = 2_000
_MOST_CLASSES = 50
_MOST_HEARD = 500
_SOUND = ("sample_peak", "clipped_share", "silent_share", "cancelled_share", "highest_hz")


def collection_page(store: StoreLike, vectors_of: VectorsOf | None = None, by: str = "") -> Page:
    """Return the page of a store at its snapshot.

    The lists and the map are bounded, and the page says so; memory holds some numbers for each song of the index.

    Parameters
    ----------
    store : SongStore, Location, str or pathlib.Path
    vectors_of : callable, optional
        Returns vectors of songs, by which the map is made; by default the statistics of the index make it.
    by : str
        Whose vectors these are.
    """
    opened = SongStore.open(store)
    facts = info(opened)
    sections = [Section("holds", "What it holds", _holds(facts))]
    if facts["songs"]:
        for column, counts in facts["classes"].items():
            if len(counts) > 1:
                key = f"column-{len(sections)}"
                title = f"Songs by {column}"
                sections.append(Section(key, title, [bars(key, "How many songs there are of each.", counts)]))
        own: dict[str, Any] = {}
        sections.append(Section("sizes", "Distributions", distributions(opened)))
        shown = song_map(opened, vectors_of)
        sections += _mapped(shown, f"the song vectors of {by}" if by else _STATISTICS, pictures(opened), own)
        sections.append(Section("sound", "Songs to listen to", _heard(opened)))
        sections.append(Section("copies", "Copies", [_copies(opened)]))
    else:
        own = {}
    sections.append(Section("failures", "Songs that failed", _failed(opened)))
    name = opened.address.rstrip("/").rsplit("/", 1)[-1] or "store"
    lead = f"{counted(facts['songs'], 'song')}, {facts['hours']:,.1f} hours, snapshot {opened.snapshot}"
    script = files("songbag_store.pages").joinpath("collection.js").read_text()
    return Page("Collection", name, lead, sections, (script,), own)


def _holds(facts: dict[str, Any]) -> list[Block]:
    figures = [
        Figure("songs", f"{facts['songs']:,}"),
        Figure("hours", f"{facts['hours']:,.1f}"),
        Figure("windows", f"{facts['windows']:,}"),
        Figure("failed", f"{facts['failed']:,}"),
    ]
    found: list[Block] = [Figures(figures)]
    if not facts["songs"] and not facts["failed"]:
        found.append(Words("There is no song in it yet: songbag extract puts songs into it.", note=True))
    counted_below = {name for name, counts in facts["classes"].items() if len(counts) > 1}
    rows = [(name, str(value)) for name, value in describe(facts) if name not in counted_below]
    return [*found, Facts(rows)]


_STATISTICS = "mean and deviation of the features"


def _mapped(shown: SongMap | None, of: str, seen: list[tuple[str, str]], own: dict[str, Any]) -> list[Section]:
    """Return the sections of the map and of the pictures, and put what their script needs into `own`."""
    sections = []
    if shown is not None:
        of_all = ""
        if len(shown.song_ids) < shown.n_songs:
            of_all = f" {MOST_ON_MAP:,} of {counted(shown.n_songs, 'song')} are drawn, evenly spread over the index."
        share = f"{shown.share:.0%} of what songs differ in"
        words = f"The first two principal components of {of}, which hold {share}. A click on a dot shows the song."
        own |= {
            "ids": shown.song_ids,
            "x": plain(shown.places[:, 0].tolist()),
            "y": plain(shown.places[:, 1].tolist()),
            "columns": shown.columns,
            "titles": shown.titles,
            "details": shown.details,
            "audio": shown.audio,
            "starts": shown.starts,
        }
        sections.append(Section("songs", "Map of songs", [Words(words + of_all), Place("map"), Place("song")]))
    if seen:
        sections.append(Section("windows", "Features of some songs", [Words(_PICTURED), Place("pictures")]))
        own["pictures"] = seen
    return sections


_PICTURED = "Seconds to the right, coefficients upwards; each coefficient against its own mean in the song."


def _heard(store: SongStore) -> list[Block]:
    """Return the songs that the index says something remarkable of."""
    names = ["song_id", "status", *_SOUND, "source_sample_rate_hz", "truncated"]
    rows: list[tuple[str, str]] = []
    counts: Counter[str] = Counter()
    measured = 0
    for piece in store.inside.state.content.pieces(names):
        songs = piece.filter(pc.field("status") == "ok")
        measured += len(songs) - songs["sample_peak"].null_count
        for song in _remarkable(songs).to_pylist():
            said = dict(_said(song))
            counts.update(said.keys())
            if len(rows) < _MOST_HEARD:
                rows.append((song["song_id"], ", ".join(said.values())))
    if not rows:
        what = "No song is clipped, silent, narrow-band, cancelled in the mix or cut off." if measured else _UNMEASURED
        return [Words(what)]
    some = "" if sum(counts.values()) <= len(rows) else f" The table has the first {len(rows):,}."
    columns = [Column("song", shown_values([one for one, _ in rows])), Column("what", [said for _, said in rows])]
    told = ", ".join(f"{counted(n, 'song')} {name}" for name, n in counts.most_common())
    return [Words(f"{told}.{some}"), Table("heard", "What the index says of their sound.", columns)]


_UNMEASURED = "The index does not say what the songs sound like: they were extracted before that was measured."
_REMARKABLE = (
    (pc.field("clipped_share") > CLIPPED_FROM)
    | (pc.field("silent_share") > SILENT_FROM)
    | (pc.field("cancelled_share") >= LOST_FROM)
    | ((pc.field("highest_hz") < LOW_HZ) & (pc.field("source_sample_rate_hz") > 2 * LOW_HZ))
    | pc.field("truncated")
)


def _remarkable(songs: pa.Table) -> pa.Table:
    return songs.filter(_REMARKABLE)


def _said(song: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is remarkable of a song: its kind, and in words."""
    found = []
    if (share := song["clipped_share"] or 0) > CLIPPED_FROM:
        found.append(("clipped", f"clipped in {share:.1%} of its samples"))
    if (share := song["silent_share"] or 0) > SILENT_FROM:
        found.append(("silent", f"silent for {share:.0%} of the time"))
    if (song["cancelled_share"] or 0) >= LOST_FROM:
        found.append(("lost in mono", "its channels cancel each other in the mix"))
    rate, highest = song["source_sample_rate_hz"] or 0, song["highest_hz"]
    if highest is not None and highest < LOW_HZ and rate > 2 * LOW_HZ:
        found.append(("narrow-band", f"nothing above {highest:,.0f} Hz"))
    if song["truncated"]:
        found.append(("cut off", "its file is cut off"))
    return found


def _copies(store: SongStore) -> Block:
    n_same = same_files(store)
    number = counted(n_same, "song is", "songs are") if n_same else "No song is"
    same = f"{number} byte for byte a song that is there already."
    return Words(f"{same} `songbag copies STORE` also finds other encodings of one recording.", note=n_same > 0)


def _failed(store: SongStore) -> list[Block]:
    """Return the songs that failed, by cause and one by one."""
    failed = failures(store, arrow=True)
    if not failed.num_rows:
        return [Words("No song failed.")]
    causes = Counter(failed["error_code"].to_pylist())
    remedies = dict(zip(failed["error_code"].to_pylist(), failed["remedy"].to_pylist(), strict=True))
    codes = [code for code, _ in causes.most_common()]
    first = failed.slice(0, _MOST_FAILURES)
    some = f" The first {first.num_rows:,}." if first.num_rows < failed.num_rows else ""
    return [
        Table(
            "causes",
            "By cause.",
            [
                Column("cause", shown_values(codes)),
                Column("songs", [causes[code] for code in codes], "number"),
                Column("what to do", shown_values([remedies[code] for code in codes])),
            ],
        ),
        Table(
            "failures",
            f"One by one.{some}",
            [
                Column("song", shown_values(first["song_id"].to_pylist())),
                Column("cause", shown_values(first["error_code"].to_pylist())),
                Column("what happened", shown_values(first["error"].to_pylist())),
            ],
        ),
    ]
