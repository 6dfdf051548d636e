"""What scikit-learn warns of while it fits, and what is no news here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence() -> Iterator[None]:
    """Ignore that few songs have many classes, which a split allows, and that the last steps of a fit are left out."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Those steps change no prediction.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        yield
