"""The code blocks of the documentation, and what they print."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest

from songbag_store.cli import main

ROOT = Path(__file__).parents[2]


def blocks(text: str, *kinds: str) -> list[tuple[str, str]]:
    """Return the kind and the text of each block of some kinds, in order."""
    return re.findall(rf"^```({'|'.join(kinds)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def with_one_network(block: str) -> str:
    """Return a block whose trainings have one network: where songs are few, the default is several."""
    begun = r"^(\$ songbag (?:train|cross-validate|sweep))(?= )(?!.* --(?:resume|from|members)\b)(?=.* --label )"
    block = re.sub(begun, r"\1 --members 1", block, flags=re.MULTILINE)
    return block.replace("songbag.TrainConfig(", "songbag.TrainConfig(members=1, ")


def arguments(command: str) -> list[str]:
    """Return the words that follow ``songbag`` in a line such as ``$ songbag info store``."""
    program, *words = shlex.split(command.removeprefix("$ "))
    assert program == "songbag", command
    return words


def printed(found: list[tuple[str, str]], folder: Path) -> list[str]:
    """Run blocks one after the other in this process, in which TensorFlow is loaded; return what each printed.

    A Python block that begins with the name of a file is saved in the folder and not run. A console block may hold
    several commands. What the blocks change of this process is undone.
    """
    texts, modules = [], set(sys.modules)
    with contextlib.ExitStack() as as_before:
        as_before.enter_context(contextlib.chdir(folder))
        as_before.enter_context(patch.dict(os.environ))
        as_before.enter_context(patch.object(sys, "path", [str(folder), *sys.path]))
        as_before.enter_context(patch.object(sys, "argv", sys.argv))
        as_before.enter_context(warnings.catch_warnings())
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for kind, block in found:
            with contextlib.redirect_stdout(io.StringIO()) as text:
                _run(kind, block)
            texts.append(text.getvalue())
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    return texts


def _run(kind: str, block: str) -> None:
    """Run a block as its reader would."""
    file = re.match(r"# (\w+\.py)\n", block)
    if kind == "console":
        for line in block.splitlines():
            if line.startswith("$ "):
                _command(arguments(line))
    elif file:
        Path(file[1]).write_text(block)
    else:
        exec(compile(block, "block", "exec"), {"__name__": "__main__"})  # noqa: S102 (a block of our own pages)


def _command(words: list[str]) -> None:
    """Run a command to its end; a failure is an error."""
    sys.argv = ["songbag", *words]
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, words


def demo_sections(text: str) -> dict[str, str]:
    """Return what each command of the demo printed, by the command, from all that the demo printed."""
    sections = re.split(r"^\$ (songbag .*)\n", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))
