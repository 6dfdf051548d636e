"""The tables of docs/reference/options.md are those that the declarations give."""

from __future__ import annotations

import re

from songbag_store.format.declaration import declarations
from tests.support.option_tables import CLASSES, PAGE, page


def test_the_tables_of_options_are_those_of_the_declarations() -> None:
    text = PAGE.read_text()
    assert re.findall(r"<!-- (\w+) -->\n\|", text) == list(CLASSES)
    assert text == page(text), "docs/reference/options.md is out of date. Run: python -m tests.support.option_tables"


def test_a_default_is_what_its_own_check_makes_of_it() -> None:
    """So it need not be checked again each time that options are made or read."""
    found = [(name, one, one.default) for cls in CLASSES.values() for name, one in declarations(cls).items()]
    given = [(name, one.parse(default), default) for name, one, default in found if default is not None]
    assert given
    assert not [
        (name, made, default) for name, made, default in given if (type(made), made) != (type(default), default)
    ]
