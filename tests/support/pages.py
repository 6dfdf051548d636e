"""The code blocks of the documentation, and what they print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


def blocks(text: str, *kinds: str) -> list[tuple[str, str]]:
    """Return the kind and the text of each block of some kinds, in order."""
    return re.findall(rf"^```({'|'.join(kinds)})\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def arguments(command: str) -> list[str]:
    """Return the words that follow ``songbag`` in a line such as ``$ songbag info store``."""
    program, *words = shlex.split(command.removeprefix("$ "))
    assert program == "songbag", command
    return words


def printed(found: list[tuple[str, str]], folder: Path) -> list[str]:
    """Run blocks one after the other in one new process, which starts in a folder; return what each printed.

    A Python block that begins with the name of a file is saved there and not run. A console block may hold several
    commands.
    """
    command = [sys.executable, "-m", "tests.support.page_process", json.dumps(found), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    texts: list[str] = json.loads((folder / "printed.json").read_text())
    return texts


def demo_sections(text: str) -> dict[str, str]:
    """Return what each command of the demo printed, by the command, from all that the demo printed."""
    sections = re.split(r"^\$ (songbag .*)\n", text, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))
