"""The command, run in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.patience import PATIENCE_S


def songbag(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "songbag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=cwd)


def foreign(said: str) -> str:
    """Return what was said on standard error besides the progress of `extract`, which is due every ten seconds."""
    return re.sub(r"^\d+ of \d+ songs, .* songs/s, .* s left\n", "", said, flags=re.MULTILINE)
