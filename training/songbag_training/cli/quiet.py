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

    If loading fails, they are shown.
    """
    sys.stderr.flush()
    # Native code writes them before any log level is set, so the descriptor itself is turned away.
    terminal = os.dup(2)
    # Garbage collection would take a third of the time.
    gc.disable()
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
            # TensorFlow reports missing drivers when it looks for its devices, so it looks now.
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            gc.freeze()
            gc.enable()
