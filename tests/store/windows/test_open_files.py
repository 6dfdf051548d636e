from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from songbag_store.windows.open_files import KeptOpen


def test_a_name_is_opened_once_for_many_threads() -> None:
    opened: list[str] = []

    def open_slowly(name: str) -> str:
        time.sleep(0.05)
        opened.append(name)
        return name.upper()

    kept: KeptOpen[str] = KeptOpen(10)
    together = threading.Barrier(8)

    def ask(name: str) -> str:
        together.wait()
        return kept.get(name, open_slowly)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, "abababab")) == list("ABABABAB")
    assert sorted(opened) == ["a", "b"]


def test_those_used_last_are_kept() -> None:
    opened: list[str] = []
    kept: KeptOpen[None] = KeptOpen(2)
    for name in "abacab":
        kept.get(name, opened.append)
    assert opened == ["a", "b", "c", "b"]


def test_what_could_not_be_opened_is_tried_again() -> None:
    kept: KeptOpen[int] = KeptOpen(2)
    with pytest.raises(ValueError, match="'x'"):
        kept.get("x", int)
    assert kept.get("x", len) == 1
