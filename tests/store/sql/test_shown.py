"""Objects say what is in them, and nothing that a stranger wrote becomes HTML or steers a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from songbag_store import FeatureSpec, SongStore
from songbag_store.commits.snapshots import Snapshot
from songbag_store.sql.shown import Shown, html_table
from tests.support.stores import MakeStore, sixteenths

SCRIPT = "<script>alert(1)</script>"


def test_html_is_escaped_everywhere() -> None:
    shown = html_table(SCRIPT, [(SCRIPT, SCRIPT), ("a\x1b[2J", "&\"'")])
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    assert "\x1b" not in shown
    assert "&amp;&quot;&#x27;" in shown


def test_facts_are_shown_on_one_line_and_as_a_table() -> None:
    class Two(Shown):
        def _facts(self) -> Iterator[tuple[str, object]]:
            yield "songs", 12_345
            yield "name", "a\nb"
            yield "share", 0.123456

    assert repr(Two()) == "<Two: songs 12,345, name a\\nb, share 0.1235>"
    assert Two()._repr_html_().startswith("<table><caption>Two</caption><tr><th>songs</th><td>12,345</td></tr>")


class Undecoded(Snapshot):
    """A snapshot of which nobody may have all columns."""

    @property
    def index(self) -> pa.Table:  # type: ignore[override]
        pytest.fail("the whole index was decoded")


def test_a_store_says_what_is_in_it_and_decodes_two_columns_only(
    make_store: MakeStore, rng: np.random.Generator
) -> None:
    shape = FeatureSpec().window_shape
    made = make_store({"a": sixteenths(rng, 3, shape), "b": sixteenths(rng, 1, shape)})
    inside = SongStore.open(made.location).inside
    state = Undecoded(**{field.name: getattr(inside.state, field.name) for field in dataclasses.fields(Snapshot)})
    store = SongStore(made.location, dataclasses.replace(inside, state=state))
    assert repr(store) == (
        f"<SongStore: store {store.address}, snapshot 1, songs 2, failed 0, windows 4, "
        "features 13 MFCC of 128 mel bands, 22,050 Hz, n_fft 1024, hop 512, int16>"
    )
    assert "<th>windows</th><td>4</td>" in store._repr_html_()
