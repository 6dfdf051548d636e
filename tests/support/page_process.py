"""The process in which the blocks of a page run: `tests.support.pages.printed` starts it.

TensorFlow is imported once for a page instead of once for each block.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path

from songbag_store.cli.root import main
from tests.support.pages import arguments


def run(kind: str, block: str) -> None:
    """Run a block as its reader would."""
    file = re.match(r"# (\w+\.py)\n", block)
    if kind == "console":
        for line in block.splitlines():
            if line.startswith("$ "):
                command(arguments(line))
    elif file:
        Path(file[1]).write_text(block)
    else:
        exec(compile(block, "block", "exec"), {"__name__": "__main__"})  # noqa: S102 (a block of our own pages)


def command(words: list[str]) -> None:
    """Run a command to its end; a failure ends this process."""
    sys.argv = ["songbag", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    found, folder = json.loads(sys.argv[1]), sys.argv[2]
    os.chdir(folder)
    sys.path.insert(0, folder)
    texts = []
    for kind, block in found:
        with contextlib.redirect_stdout(io.StringIO()) as text:
            run(kind, block)
        texts.append(text.getvalue())
    Path("printed.json").write_text(json.dumps(texts))
