"""The page of faults is what the tests make it."""

from __future__ import annotations

from tests.support.faults import FAULTS, PAGE, holders, page


def test_every_fault_is_held_by_a_test_and_every_number_is_a_fault() -> None:
    known = {number for faults in FAULTS.values() for number in faults}
    assert set(holders()) == known


def test_the_page_of_faults_is_that_of_the_tests() -> None:
    assert PAGE.read_text() == page(), "write docs/reference/faults.md again: python -m tests.support.faults"
