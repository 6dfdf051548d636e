"""The command, run in a process of its own or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from songbag_store.cli.root import main
from tests.support.patience import PATIENCE_S


def songbag(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "songbag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=cwd)


def songbag_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, where its libraries are loaded already: that takes most of the time."""
    words, code, output, error = ["songbag", *map(str, arguments)], None, io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as as_before:
        as_before.enter_context(patch.object(sys, "argv", words))
        as_before.enter_context(patch.dict(os.environ))
        as_before.enter_context(contextlib.redirect_stdout(output))
        as_before.enter_context(contextlib.redirect_stderr(error))
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, output.getvalue(), error.getvalue())


def foreign(said: str) -> str:
    """Return what was said on standard error besides the progress of `extract`, which is due every ten seconds."""
    return re.sub(r"^[\d,]+ of [\d,]+ songs?, .* songs/s, .* s left\n", "", said, flags=re.MULTILINE)
