"""The tables of docs/reference/options.md are those that the declarations give."""

from __future__ import annotations

import re

from tests.support.option_tables import CLASSES, PAGE, page


def test_the_tables_of_options_are_those_of_the_declarations() -> None:
    text = PAGE.read_text()
    assert re.findall(r"<!-- (\w+) -->\n\|", text) == list(CLASSES)
    assert text == page(text), "docs/reference/options.md is out of date. Run: python -m tests.support.option_tables"
