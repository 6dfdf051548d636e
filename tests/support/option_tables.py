"""The tables of docs/reference/options.md, from the declarations: python -m tests.support.option_tables writes them."""

from __future__ import annotations

import re
from pathlib import Path

from songbag_pipeline import ExtractConfig
from songbag_store import FeatureSpec
from songbag_store.format.declaration import Declaration, Declared, declarations
from songbag_training.config import BaselineConfig, PretrainConfig, TrainConfig
from songbag_training.search import Search
from songbag_training.work import Cluster, PredictConfig, TeamConfig

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "options.md"
_DECLARED = (
    FeatureSpec,
    ExtractConfig,
    BaselineConfig,
    TrainConfig,
    PretrainConfig,
    TeamConfig,
    PredictConfig,
    Search,
    Cluster,
)
CLASSES = {cls.__name__: cls for cls in _DECLARED}

_HEAD = "| option | in Python | value | default | what it does |\n|---|---|---|---|---|\n"


def table(cls: type[Declared]) -> str:
    """Return the declarations of a class as a Markdown table."""
    return _HEAD + "".join(_row(one) for one in declarations(cls).values())


def page(text: str) -> str:
    """Return the page with the tables between its marks written again."""
    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", _fresh, text, flags=re.DOTALL)


def _fresh(mark: re.Match[str]) -> str:
    return f"<!-- {mark[1]} -->\n{table(CLASSES[mark[1]])}<!-- end -->"


def _row(one: Declaration) -> str:
    value = f"{one.wanted}, in {one.unit}" if one.unit else one.wanted
    default = "off" if one.default is False else one.default_text or "none"
    cells = [f"`{one.flag}`" if one.flag else "", f"`{one.name}`", value, default, one.help]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
