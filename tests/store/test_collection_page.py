"""The page of a collection: what it says of stores of every kind, and that it stays small."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from songbag_store.pages import songs as page_songs
from songbag_store.pages.collection import collection_page
from songbag_store.pages.page import Page, write_page
from songbag_store.pages.pieces import Chart, plain
from tests.support.browser import complaints, opened_browser
from tests.support.labelled import songs_of_classes, tagged_songs, write_store

SCRIPT = "<script>alert(1)</script>"
FAILED = {"label": None, "status": "failed", "error_code": "corrupt", "error": "<b>cut off</b>"}
FACTS = {"duration_s": 3.0, "source_sample_rate_hz": 44_100, "source_format": "flac", "channels": 2, "sample_peak": 0.5}


def of(folder: Path, songs: list[dict[str, Any]], **options: Any) -> Page:
    return collection_page(write_store(folder / "store", songs, **options))


def text_of(page: Page) -> str:
    """Return the words and the data of a page, without its scripts."""
    return re.sub(r"<script(?! type=.application/json)[^>]*>.*?</script>", "", page.html(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of songs with odd names, facts and columns, some of them failed."""
    made = [dict(one, **FACTS) for one in songs_of_classes({"</style>": 5, SCRIPT: 4}, seed=3)]
    made[0] |= {"clipped_share": 0.2, "content_sha256": "a" * 64}
    made[1] |= {"silent_share": 0.8, "content_sha256": "a" * 64}
    made[2] |= {"highest_hz": 9000.0, "truncated": True}
    for number, one in enumerate(made):
        one |= {"</style>": float(number), "flag": number % 2 == 0, "nested": [{"a": 1}], "nan": float("nan")}
    further = [pa.field("</style>", pa.float64()), pa.field("flag", pa.bool_()), pa.field("nothing", pa.null())]
    further += [pa.field("nested", pa.list_(pa.struct([("a", pa.int64())]))), pa.field("nan", pa.float64())]
    failed = [dict(FAILED, song_id=f"{SCRIPT}/{number}") for number in range(3)]
    return of(tmp_path_factory.mktemp("collection"), [*made, *failed], further=further)


def test_it_says_what_is_in_the_store(page: Page) -> None:
    titles = [section.title for section in page.sections]
    assert titles[:3] == ["What it holds", "Songs by label", "Songs by </style>"]
    assert titles[-6:] == [
        *("Distributions", "Map of songs", "Features of some songs"),
        *("Songs to listen to", "Copies", "Songs that failed"),
    ]
    text = text_of(page)
    assert "1 song is byte for byte a song that is there already" in text
    for said in ("clipped in 20.0% of its samples", "silent for 80% of the time", "nothing above 9,000 Hz"):
        assert said in text
    causes = next(block for block in page.sections[-1].blocks if getattr(block, "key", "") == "causes")
    assert [column.values for column in causes.columns][:2] == [["corrupt"], [3]]  # type: ignore[attr-defined]


def test_bars_of_songs_that_are_all_alike_have_a_width(tmp_path: Path) -> None:
    facts = {"duration_s": 123456.0, "highest_hz": 11025.0, "sample_peak": 0.5, "silent_share": 0.0}
    page = of(tmp_path, [one | facts for one in songs_of_classes({"a": 4})])
    charts = [block for section in page.sections for block in section.blocks if isinstance(block, Chart)]
    histograms = [chart.layers[0].columns for chart in charts if chart.key.startswith("number-")]
    assert len(histograms) == len(facts)
    for columns in histograms:
        left, right, top = (plain(columns[name]) for name in ("left", "right", "top"))
        assert [end > begin for begin, end, n in zip(left, right, top, strict=True) if n] == [True]


def test_names_of_strangers_are_no_markup(page: Page) -> None:
    text = text_of(page)
    assert SCRIPT not in text
    assert "<b>cut" not in text
    assert text.count("</style>") == 1
    json.dumps(page.data, allow_nan=False)


def test_songs_are_coloured_by_any_column_that_divides_them(page: Page) -> None:
    groups = {one["name"]: one for one in page.data["columns"]}
    assert list(groups) == ["label", "</style>", "flag"]
    assert groups["label"]["groups"] == ["</style>", SCRIPT]
    assert set(groups["</style>"]["of"]) == set(range(7))
    assert len(page.data["ids"]) == len(page.data["x"]) == len(page.data["details"]) == 9
    assert page.data["audio"] == [None] * 9
    assert len(page.data["pictures"]) == 6


@pytest.mark.parametrize(
    ("songs", "options", "sections"),
    [
        ([], {}, ["holds", "failures"]),
        ([dict(FAILED, song_id="x")], {}, ["holds", "failures"]),
        (songs_of_classes({"a": 1}), {}, ["holds", "sizes", "windows", "sound", "copies", "failures"]),
        (tagged_songs(8), {"label_type": pa.list_(pa.string())}, ["songs", "sound"]),
    ],
    ids=["empty", "failed", "one", "tagged"],
)
def test_every_store_has_a_page(tmp_path: Path, songs: list, options: dict, sections: list[str]) -> None:  # type: ignore[type-arg]
    page = of(tmp_path, songs, **options)
    assert set(sections) <= {section.key for section in page.sections}
    write_page(page, tmp_path / "report.html")
    write_page(page, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 4_000_000


def test_a_large_collection_has_a_page_of_bounded_size(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_songs, "MOST_ON_MAP", 4)
    store = write_store(tmp_path / "store", songs_of_classes({"a": 20, "b": 20}))
    few = collection_page(store)
    assert len(few.data["ids"]) == 4
    assert few.data["ids"][-1] == "b/19"
    monkeypatch.undo()
    # 40 songs take 36 rows more of ids, places, details and colours than 4: what 3,000 take follows.
    whole = collection_page(store)
    a_song = (len(json.dumps(dict(whole.data))) - len(json.dumps(dict(few.data)))) / 36
    assert a_song * page_songs.MOST_ON_MAP < 10_000_000


def test_vectors_of_songs_make_the_map_and_are_asked_for_by_its_songs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_songs, "MOST_ON_MAP", 4)
    store, asked = write_store(tmp_path / "store", songs_of_classes({"a": 20, "b": 20})), list[str]()

    def vectors_of(ids: pa.Array) -> Any:
        asked.extend(ids.to_pylist())
        return np.array(
            [[1.0, 0.0, 0.1 * n] if one.startswith("a/") else [0.0, 1.0, 0.0] for n, one in enumerate(ids.to_pylist())]
        )

    page = collection_page(store, vectors_of, by="run-1")
    assert page.data["ids"] == asked
    assert len(asked) == 4
    assert "components of the song vectors of run-1" in text_of(page)
    sides = {one[0]: x > 0 for one, x in zip(page.data["ids"], page.data["x"], strict=True)}
    assert sides["a"] != sides["b"]


def test_a_list_of_classes_colours_a_song_by_the_most_common_of_its_own(tmp_path: Path) -> None:
    lists = [["rare", "common"], ["common"], None, [], ["rare"], ["common"]]
    songs = [dict(one, tags=own) for one, own in zip(songs_of_classes({"a": 6}), lists, strict=True)]
    page = of(tmp_path, songs, further=[pa.field("tags", pa.list_(pa.string()))])
    (tags,) = (one for one in page.data["columns"] if one["name"] == "tags")
    assert tags["groups"] == ["common", "rare"]
    assert tags["of"] == [0, 0, -1, -1, 1, 0]


def test_numbers_are_cut_into_groups_of_like_size(tmp_path: Path) -> None:
    songs = [dict(one, x=float(number)) for number, one in enumerate(songs_of_classes({"a": 14}))]
    page = of(tmp_path, songs, further=[pa.field("x", pa.float64())])
    own = next(one for one in page.data["columns"] if one["name"] == "x")
    assert np.bincount(own["of"]).tolist() == [2] * 7


def test_dates_that_python_does_not_have_are_shown_as_texts(tmp_path: Path) -> None:
    far = pa.scalar(2**30, pa.int32()).cast(pa.date32())
    kinds = {"released": pa.date32(), "issues": pa.list_(pa.date32())}
    further = [pa.field(name, kind) for name, kind in kinds.items()]
    made = [one | {"released": far, "issues": [far]} for one in songs_of_classes({"a": 4})]
    assert "1073741824" in text_of(of(tmp_path, made, further=further))
    lengths = pa.chunked_array([pa.array([1500, None], pa.int64()).cast(pa.duration("ms"))])
    assert page_songs._texts(lengths) == ["1.5 s", ""]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    yield from opened_browser(tmp_path / "profile")


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_ids_of_64_bits_are_numbers_like_any_other(kind: pa.DataType) -> None:
    ids = pa.chunked_array([pa.array([2**53 + 1 + n for n in range(20)] + [None], kind)])
    groups = page_songs._groups("mbid", ids)
    assert groups is not None
    assert len(groups["of"]) == 21
    assert groups["of"][-1] == -1
    assert set(groups["of"][:-1]) == set(range(len(groups["groups"])))


def test_in_a_browser_the_map_is_coloured_and_a_song_is_shown_without_an_error(
    browser: Any, page: Page, tmp_path: Path
) -> None:
    write_page(page, tmp_path / "report.html")
    browser.get((tmp_path / "report.html").as_uri())
    shown = "return document.querySelector('#song h3').textContent"
    assert browser.execute_script(shown) == page.data["ids"][0]
    choose = "const e = document.querySelector(arguments[0]); e[arguments[1]] = arguments[2];"
    choose += "e.dispatchEvent(new Event('change'))"
    browser.execute_script(choose, "#map input", "value", page.data["ids"][3])
    assert browser.execute_script(shown) == page.data["ids"][3]
    names = "return [...document.querySelectorAll('#map .legend span')].map((one) => one.textContent)"
    assert browser.execute_script(names) == page.data["columns"][0]["groups"]
    browser.execute_script(choose, "#colour", "selectedIndex", 1)
    assert browser.execute_script(names) == page.data["columns"][1]["groups"]
    assert len(browser.find_elements("css selector", "#pictures img")) == 6
    assert complaints(browser) == []
