"""The page of a collection: what a store holds."""

from __future__ import annotations

from songbag_store.pages.page import Page, Section
from songbag_store.pages.pieces import Axis, Block, Chart, Column, Facts, Layer, Table, Words
from songbag_store.store import SongStore, StoreLike
from songbag_store.upkeep.summary import describe, failures, info
from songbag_store.words import counted

_MOST_FAILURES = 5_000
_MOST_CLASSES = 60


def collection_page(store: StoreLike) -> Page:
    """Return the page of a store at its snapshot: what is in it, its classes, and the songs that failed."""
    opened = SongStore.open(store)
    facts = info(opened)
    holds: list[Block] = [Facts([(name, str(value)) for name, value in describe(facts)])]
    sections = [Section("holds", "What it holds", holds)]
    for column, counts in facts.get("classes", {}).items():
        shown = list(counts.items())[:_MOST_CLASSES]
        if len(shown) > 1:
            sections.append(Section(f"column-{len(sections)}", f"Songs by {column}", [_counts(len(sections), shown)]))
    failed = failures(opened, arrow=True).slice(0, _MOST_FAILURES)
    blocks: list[Block] = [Words("Every song could be read.")]
    if failed.num_rows:
        names = [name for name in ("song_id", "error_code", "error", "remedy") if name in failed.column_names]
        columns = [Column(name.replace("_", " "), [str(one) for one in failed[name].to_pylist()]) for name in names]
        blocks = [Table("failures", "Songs that could not be read, and why.", columns)]
    sections.append(Section("failures", "Songs that failed", blocks))
    lead = f"{counted(facts['songs'], 'song')}, snapshot {opened.snapshot}"
    return Page("Collection", opened.address.rstrip("/").rsplit("/", 1)[-1] or "store", lead, sections)


def _counts(number: int, shown: list[tuple[str, int]]) -> Chart:
    names = [str(name) for name, _ in shown]
    rows = list(range(len(shown)))
    bars = Layer(
        "bars",
        {
            "left": [0] * len(rows),
            "right": [n for _, n in shown],
            "bottom": [row - 0.4 for row in rows],
            "top": [row + 0.4 for row in rows],
            "name": names,
        },
        tips=(("", "@name"), ("songs", "@right")),
    )
    height = min(60 + 26 * len(rows), 900)
    ends = (len(rows) - 0.4, -0.6)
    return Chart(
        f"counts-{number}", "How many songs there are of each.", [bars], y=Axis("", ends, names), height=height
    )
