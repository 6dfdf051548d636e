"""Loading TensorFlow without the lines that it writes before it looks at TF_CPP_MIN_LOG_LEVEL."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
"""The variable of the environment with the log level, from 0 (everything) to 3."""
_LEVELS = "IWEF"
_BEFORE = r"\d{4} [\d:.]+ +\d+ \S+\] "
_NO_FAULT = (
    r"WARNING: All log messages before absl::InitializeLog\(\).*",
    # The rest of a line of level I.
    r"To enable the following instructions: .*",
    # There is no driver of a GPU, or TensorFlow has registered a library twice.
    rf"E{_BEFORE}(failed call to cuInit: .*\(303\)|Unable to register \w+ factory: ).*",
)


class _StandardError:
    """The descriptor of standard error, which is turned away while one thread or several load."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_loading = 0

    def turn_away(self) -> None:
        """Keep back what is written, from the first thread that loads on."""
        with self._lock:
            self._n_loading += 1
            if self._n_loading == 1:
                if sys.stderr is not None:
                    sys.stderr.flush()
                self._terminal, self._kept = os.dup(2), tempfile.TemporaryFile()  # noqa: SIM115 (until `turn_back`)
                os.dup2(self._kept.fileno(), 2)

    def turn_back(self, everything: bool) -> None:
        """Show what was kept back, when the last thread has loaded."""
        with self._lock:
            self._n_loading -= 1
            if self._n_loading == 0:
                os.dup2(self._terminal, 2)
                with self._kept:
                    self._kept.seek(0)
                    said = self._kept.read()
                os.write(self._terminal, said if everything else shown(said, _level()))
                os.close(self._terminal)


_standard_error = _StandardError()


@contextmanager
def quiet() -> Iterator[None]:
    """Import TensorFlow in this block, and lines below the log level are not shown; all others are, when it ends.

    The level is that of TF_CPP_MIN_LOG_LEVEL: 0 shows everything. Lines are kept back on the descriptor, because native
    code writes them. If the import fails, all of them are shown.
    """
    if "tensorflow" in sys.modules or _level() == 0:
        yield
        return
    _standard_error.turn_away()
    failed = True
    try:
        yield
        if "tensorflow" in sys.modules:
            # TensorFlow reports a missing driver when it looks for its devices, so it looks now.
            sys.modules["tensorflow"].config.list_physical_devices()
        failed = False
    finally:
        _standard_error.turn_back(everything=failed)


def shown(said: bytes, level: int) -> bytes:
    """Return the lines that a log level lets pass, and all that are no lines of a log."""
    hidden = rf"^(?:{'|'.join([rf'[{_LEVELS[:level]}]{_BEFORE}.*', *_NO_FAULT])})\n"
    return re.sub(hidden.encode(), b"", said, flags=re.MULTILINE)


def _level() -> int:
    given = os.environ.get(LEVEL, "")
    return min(int(given), len(_LEVELS)) if given.isdecimal() else 0
