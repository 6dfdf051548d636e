"""What a long function tells: as a bar on a terminal, as lines elsewhere, or not at all."""

from __future__ import annotations

import io
import os
import re

import pytest

from songbag_store.progress import Bar, Indented, Lines, Progress, Silent, first_notes, shown_on, stretch


def tell(progress: Progress) -> None:
    progress.note("40 songs")
    with stretch(progress, 40, "songs"):
        progress.advance(10, "10 done")
        progress.note("a worker left")
        progress.advance(40, "40 done", "40 done, 0 s left")


def on_a_terminal() -> str:
    """Return what a real terminal gets."""
    ours, theirs = os.openpty()
    with open(theirs, "w") as stream:
        progress = shown_on(stream)
        assert isinstance(progress, Bar)
        tell(progress)
        stream.flush()
        text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    return text


def test_lines_are_written_when_they_are_due() -> None:
    lines: list[str] = []
    tell(Lines(lines.append))
    assert lines == ["40 songs", "a worker left", "40 done, 0 s left"]


def test_what_is_no_terminal_gets_lines() -> None:
    stream = io.StringIO()
    tell(shown_on(stream))
    assert stream.getvalue() == "40 songs\na worker left\n40 done, 0 s left\n"


def test_a_terminal_gets_a_bar_with_the_state_beside_it_and_notes_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    text = on_a_terminal()
    assert text.startswith("40 songs")
    assert "a worker left" in text
    assert "40 done" in text
    assert "0 s left" not in text
    assert re.search("\x1b\\[", text)


def test_part_of_a_larger_piece_of_work_is_indented() -> None:
    lines: list[str] = []
    tell(Indented(Lines(lines.append)))
    assert lines == ["  40 songs", "  a worker left", "  40 done, 0 s left"]


def test_silence_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    tell(Silent())
    assert capfd.readouterr() == ("", "")


def test_a_stretch_ends_when_the_work_fails() -> None:
    ended = []

    class Ending(Silent):
        def end(self) -> None:
            ended.append(True)

    with pytest.raises(KeyError, match="song"), stretch(Ending(), 3, "songs"):
        raise KeyError("song")
    assert ended == [True]


def test_notes_beyond_the_tenth_are_counted() -> None:
    assert first_notes(["one", "two"]) == ["note: one", "note: two"]
    assert first_notes(["x"] * 13)[9:] == ["note: x", "note: 3 more like these"]
