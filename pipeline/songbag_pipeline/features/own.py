"""Features that an extractor of the user's own computes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from songbag_pipeline.errors import SongError
from songbag_pipeline.types import Blocks, FloatArray
from songbag_store import FeatureSpec
from songbag_store.errors import SpecMismatch
from songbag_store.format.extractor import WindowFeatures, load_extractor, option_values
from songbag_store.format.spec import fields_of
from songbag_store.plugin import first_line


@lru_cache(maxsize=2)
def own_features(spec: FeatureSpec) -> Blocks:
    """Return the function of the extractor that a spec names; only pass a spec that the user gave or allowed.

    It is loaded once in a process.

    Raises
    ------
    SpecError
        If there is no such extractor.
    SpecMismatch
        If it is not the one of the spec: its source or what it declares is different.
    """
    name = spec.extractor or ""
    found = load_extractor(name)
    here = FeatureSpec(**spec.to_dict() | fields_of(name, found))
    if here != spec:
        remedy = "Give the workers the module that the store was made with, or extract into a new store."
        what = f"the module of {spec.extractor!r} is another one here"
        raise SpecMismatch(what, spec.differences(here), place="features", remedy=remedy)
    call = found.made(option_values(spec.extractor_options))

    def compute(windows: FloatArray) -> FloatArray:
        return _checked(_called(call, windows), len(windows), spec)

    return compute


def _called(call: WindowFeatures, windows: FloatArray) -> Any:
    try:
        return call(windows)
    except MemoryError as error:
        raise SongError("extractor-memory", "the extractor took more memory than it may") from error
    except Exception as error:  # code from outside may raise anything; it costs this song
        raise SongError(
            "extractor-error", f"the extractor raised {type(error).__name__}: {first_line(error)}"
        ) from error


def _checked(found: Any, n_windows: int, spec: FeatureSpec) -> FloatArray:
    """Return what an extractor gave as float32, if it is what it declares."""
    try:
        if _has_masked(found):
            # Under a mask lies anything, often what was there before.
            raise SongError("extractor-not-finite", "the extractor gave masked values")
        values = np.asarray(found)
        if values.dtype.kind not in "biuf":
            # numpy takes anything for an array of one object: None of a function without `return`, or a generator.
            raise TypeError(f"but {type(found).__name__}" if values.ndim == 0 else f"values of type {values.dtype}")
    except SongError:
        raise
    except Exception as error:  # an object from outside may raise anything when it is asked for its numbers
        raise SongError("extractor-shape", f"the extractor gave no array of numbers ({first_line(error)})") from error
    wanted = n_windows, *spec.window_shape
    if values.shape != wanted:
        raise SongError("extractor-shape", f"the extractor gave an array of shape {values.shape} instead of {wanted}")
    with np.errstate(over="ignore"):
        features: FloatArray = values.astype(np.float32)
    if not np.isfinite(features).all():
        raise SongError("extractor-not-finite", "the extractor gave NaN or infinite values")
    return features


def _has_masked(found: Any) -> bool:
    """Return whether a value is masked in an array, or in one of several arrays in lists."""
    if isinstance(found, (list, tuple)):
        return any(_has_masked(one) for one in found if isinstance(one, (list, tuple, np.ma.MaskedArray)))
    return isinstance(found, np.ma.MaskedArray) and bool(np.ma.is_masked(found))
