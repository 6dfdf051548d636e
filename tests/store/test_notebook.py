"""Progress in a notebook: rich's bar, drawn again in its place, and notes as lines."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from songbag_store.progress import Lines, Notebook, shown_on, stretch


class ZMQInteractiveShell(InteractiveShell):
    """The shell of a notebook's kernel has this name."""


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    made = ZMQInteractiveShell.instance()
    yield made
    made.history_manager.end_session() if made.history_manager else None
    ZMQInteractiveShell.clear_instance()
    InteractiveShell.clear_instance()


def test_a_notebook_gets_a_bar_in_one_place_and_notes_as_lines(shell: InteractiveShell) -> None:
    stream = io.StringIO()
    with capture_output() as captured:
        progress = shown_on(stream)
        assert isinstance(progress, Notebook)
        progress.note("40 songs")
        with stretch(progress, 40, "songs"):
            progress.advance(10, "10 done")
            progress.note("a worker left")
    shown: list[Any] = captured.outputs
    assert stream.getvalue() == "40 songs\na worker left\n"
    drawn = [one.data for one in shown if "40 songs" in one.data["text/plain"]]
    assert drawn
    assert "text/html" in drawn[0]
    assert shown[-1].data["text/plain"].strip() == ""


def test_without_a_notebook_there_are_lines() -> None:
    assert type(shown_on(io.StringIO())) is Lines
    assert "IPython" in sys.modules
