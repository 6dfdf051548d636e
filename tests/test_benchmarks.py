"""The benchmarks beside peers: a small real run, and a page that is made from the results alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import costs
from benchmarks.peers import QUESTIONS, contestants, environments, page, results
from benchmarks.peers.__main__ import main
from benchmarks.peers.contestants import CannotRun, Contestant, Peer
from benchmarks.peers.results import Column, Table
from benchmarks.peers.streaming.question import order_quality


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a small run of the question of streaming wrote, beside a memory map and a peer that is not installed."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONGBAG_BENCH_ENVIRONMENTS", str(folder / "none"))
        command = ["run", "--scale", "tiny", "--question", "streaming", "--results", str(folder)]
        main([*command, "--only", "raw memory map", "Lance"])
    return dict(json.loads((folder / "tiny" / "streaming.json").read_text()))


def test_a_run_measures_songbag_beside_a_peer(streamed: dict[str, Any]) -> None:
    (table,) = streamed["tables"]
    own, peer = (row["values"] for row in table["rows"])
    assert [row["name"] for row in table["rows"]] == ["songbag", "raw memory map"]
    assert own["songs_per_s"]["rounds"] == 1
    assert own["bytes"] < peer["bytes"]
    assert min(own["memory_bytes"], peer["memory_bytes"]) > 1e6
    assert peer["ratio"]["median"] == pytest.approx(
        own["songs_per_s"]["median"] / peer["songs_per_s"]["median"], rel=1e-4
    )
    assert (own["resume"], peer["resume"]) == ("exactly", "no")


def test_a_peer_that_is_not_installed_is_missing_with_the_reason(streamed: dict[str, Any]) -> None:
    assert streamed["missing"] == [
        {"name": "Lance (Songs of unequal length)", "reason": "not installed: run make bench-install"}
    ]
    assert "missing: Lance (Songs of unequal length): not installed" in page.text({"streaming": streamed})


def test_a_result_names_no_machine_and_no_folder(streamed: dict[str, Any]) -> None:
    written = json.dumps(streamed)
    assert str(Path.home()) not in written
    assert "/tmp" not in written
    assert Path("/proc/sys/kernel/hostname").read_text().strip() not in written


def test_the_page_is_the_same_when_it_is_written_again(streamed: dict[str, Any], tmp_path: Path) -> None:
    results.write({**streamed, "scale": "quick"}, tmp_path / "results")
    written = [_written(tmp_path / "results", tmp_path / str(number)) for number in range(2)]
    assert written[0] == written[1]
    assert {path.suffix for path in written[0]} == {".md", ".svg"}
    full = {**streamed, "scale": "full", "measured_on": "2001-02-03"}
    results.write(full, tmp_path / "results")
    assert b"2001-02-03 at the scale full" in _written(tmp_path / "results", tmp_path / "2")[Path("docs/benchmarks.md")]


def test_the_committed_page_is_made_from_the_committed_results(tmp_path: Path) -> None:
    made = _written(results.RESULTS, tmp_path)
    pictures = page.PAGE.parent / page.PLOTS
    assert made.pop(Path("docs/benchmarks.md")) == page.PAGE.read_bytes(), "make bench-report"
    assert {path.name: data for path, data in made.items()} == {
        path.name: path.read_bytes() for path in pictures.glob("*.svg")
    }


def test_every_question_has_its_section_before_it_is_measured() -> None:
    assert page.text(dict.fromkeys(QUESTIONS)).count("Not measured yet.") == len(QUESTIONS)


def test_the_order_of_an_epoch_is_judged() -> None:
    in_order = order_quality([list(range(300))])
    assert in_order["order"] == 1
    assert in_order["neighbours"] == pytest.approx(0.01)


def test_numbers_are_written_with_their_units() -> None:
    rounds = {"median": 18019.0, "low": 6295.4, "high": 31842.0, "rounds": 3}
    assert page.shown(rounds, "rate") == "18,019 (6,295 to 31,842)"
    assert page.shown(1.5e9, "bytes") == "1.5 GB"
    assert page.shown(None, "seconds") == ""
    assert page.shown("a|b", "text") == "a\\|b"


def test_a_ratio_above_one_says_that_songbag_is_better() -> None:
    more = Table(title="", about="", columns=[Column("songs", "songs/s", "rate", more_is_better=True)])
    less = Table(title="", about="", columns=[Column("seconds", "s", "seconds")])
    assert more.ratio([20.0, 30.0], [10.0, 10.0])["median"] == 2.5
    assert less.ratio([1.0], [3.0])["median"] == 3


def test_a_group_whose_python_is_not_there_is_missing_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SONGBAG_BENCH_ENVIRONMENTS", str(tmp_path))
    environments.make(environments.Group(name="later", python="9.9", requirements=("annbatch==0.3.1",)))
    assert environments.reason("later", "annbatch") == "no Python 9.9 here"


def test_a_contestant_that_fails_hangs_or_dies_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contestant = Contestant(Peer(name="none", place="serve:Path"), tmp_path / "none")
    try:
        contestant.wait_until_ready()
        assert contestant.ask("exists").value is True
        with pytest.raises(CannotRun, match="AttributeError: 'PosixPath' object has no attribute 'epoch'"):
            contestant.ask("epoch")
        # A pipe that nobody writes to.
        (tmp_path / "none").rmdir()
        os.mkfifo(tmp_path / "none")
        monkeypatch.setattr(contestants, "LIMIT_S", 0.1)
        with pytest.raises(CannotRun, match="no answer to 'read_bytes' within 0 s"):
            contestant.ask("read_bytes")
    finally:
        contestant.close()


def test_what_a_collection_costs_is_computed_from_figures_that_stand_in_the_documentation() -> None:
    docs = page.PAGE.parents[1]
    for figure in costs.FIGURES:
        assert figure.words in (docs / figure.page).read_text(), figure
        assert f"{figure.value:,g}" in figure.words or figure.page.startswith("decisions"), figure
    scale = (docs / "explanation" / "scale.md").read_text()
    assert costs.table() in scale
    assert f"{1 / costs.client_s():,.0f} songs/s" in scale
    assert f"keep {costs.most_workers()} workers busy" in scale


def _written(folder: Path, place: Path) -> dict[Path, bytes]:
    target = place / "docs" / "benchmarks.md"
    target.parent.mkdir(parents=True)
    page.write(folder, target)
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
