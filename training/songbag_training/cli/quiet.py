"""Loading TensorFlow without its messages."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keep TensorFlow's messages about this machine from the terminal while it is loaded.

    They are written by native code before any setting of its log level counts; if loading fails they are shown.
    Python looks for no garbage meanwhile, nor in what was loaded later on: that would take a third of the time.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    gc.disable()
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
            _find_devices()
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            gc.freeze()
            gc.enable()


def _find_devices() -> None:
    """Have TensorFlow look for its devices now: it reports missing drivers when it does."""
    import tensorflow as tf

    tf.config.list_physical_devices()
