"""Extractors: functions and classes of the user's own that compute features."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import numbers
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from songbag_store.errors import SpecError
from songbag_store.plugin import in_file, load_named

if TYPE_CHECKING:
    from songbag_store.types import FloatWindows

F = TypeVar("F", bound=Callable[..., Any])

DECLARED = "__songbag_extractor__"
"""Attribute of a function or class with its declaration."""


_LONGEST_SHOWN = 80


class WindowFeatures(Protocol):
    """What a function becomes with its options, and what an object of a class is."""

    def __call__(self, windows: FloatWindows) -> Any:
        """Return the features of windows of samples, float32 of shape (W, S): all finite, of shape (W, C, T)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Extractor:
    """An extractor that was loaded, with what it declares.

    Attributes
    ----------
    call : callable
        The function or class.
    sample_rate_hz : int
        Sample rate of the audio that it takes.
    shape : tuple of int
        (C, T) of a window.
    version : str
        To be raised when it computes other numbers.
    step : float or None
        Step of the int16 encoding; None for float32.
    sha256 : str
        Digest of the source file of its module.
    """

    call: Callable[..., Any]
    sample_rate_hz: int
    shape: tuple[int, int]
    version: str
    step: float | None = None
    sha256: str = ""

    def made(self, options: Mapping[str, Any]) -> WindowFeatures:
        """Return what takes blocks of windows: the function with its options, or an object of the class."""
        made = partial(self.call, **options)
        found: WindowFeatures = made() if inspect.isclass(self.call) else made
        return found


def extractor(
    *, sample_rate_hz: int, shape: tuple[int, int], version: str, step: float | None = None
) -> Callable[[F], F]:
    """Declare that a function, or a class, computes features of windows of audio.

    A function is called as ``function(windows, **options)``; of a class one object is made in each process, as
    ``cls(**options)``, and called as ``object(windows)``. It takes float32 of shape (W, S): W windows of S mono samples
    in [-1, 1]. It returns W arrays of shape (C, T), as one array of shape (W, C, T), all finite.

    Parameters
    ----------
    sample_rate_hz : int
        Sample rate of the audio that it takes.
    shape : tuple of int
        (C, T) of a window. An embedding has T = 1.
    version : str
        To be raised when it computes other numbers.
    step : float, optional
        Store values as int16 in steps of this size, with an error of at most half a step. A song with a value beyond
        32,767 steps fails. By default they are stored as float32.

    Examples
    --------
    >>> @songbag.extractor(sample_rate_hz=22050, shape=(1, 1), version="1")
    ... def loudness(windows):
    ...     return np.sqrt(np.square(windows).mean(axis=1))[:, None, None]
    """

    def declare(function: F) -> F:
        setattr(function, DECLARED, Extractor(function, sample_rate_hz, shape, version, step))
        return function

    return declare


def load_extractor(name: str, folders: Sequence[str] = ()) -> Extractor:
    """Import an extractor by its name, ``module:name``; only pass names that the user gave.

    Raises
    ------
    SpecError
        If there is none of this name, or it does not declare what it takes and gives.
    """
    place = f"features {name!r}"
    module, found = load_named(name, SpecError, place=place, folders=folders)
    declared = getattr(found, DECLARED, None)
    if not isinstance(declared, Extractor) or declared.call is not found:
        remedy = "Put @songbag.extractor(sample_rate_hz=..., shape=(C, T), version=...) above it."
        what = f"it does not declare what it takes and gives{in_file(module)}"
        raise SpecError(what, place=place, remedy=f"{remedy} If that is another module, rename yours.")
    source = inspect.getsourcefile(module) or getattr(module, "__file__", None)
    if source is None:
        raise SpecError("its module has no file", place=place, remedy="Write it into a file, MODULE.py.")
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    return dataclasses.replace(_plain(declared, place), sha256=digest)


def _plain(declared: Extractor, place: str) -> Extractor:
    """Return a declaration with Python's numbers in place of NumPy's; refuse a shape and a version that are none.

    The spec refuses the other values that do not fit.
    """
    given: Any = declared.shape
    given = given.tolist() if hasattr(given, "tolist") else given  # of an array
    shape = given if isinstance(given, (tuple, list)) else ()
    if len(shape) != 2 or not all(_is_whole(one) and one >= 1 for one in shape):
        remedy = "Give (C, T) of a window: bands and frames, two whole numbers from 1. An embedding has T = 1."
        raise SpecError(f"it declares the shape {_shown(declared.shape)}", place=place, remedy=remedy)
    version: object = declared.version
    if not isinstance(version, str) or any("\ud800" <= c <= "\udfff" for c in version):
        remedy = "Give a text, such as version='1'."
        raise SpecError(f"it declares the version {_shown(version)}", place=place, remedy=remedy)
    rate: Any = declared.sample_rate_hz
    rate = int(rate) if _is_whole(rate) else rate
    return dataclasses.replace(declared, shape=(int(shape[0]), int(shape[1])), sample_rate_hz=rate)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= _LONGEST_SHOWN else f"{repr(value)[:_LONGEST_SHOWN]}..."


def option_texts(options: Sequence[str]) -> tuple[str, ...]:
    """Return parameters as a spec keeps them: KEY=VALUE in order of the keys, each value as JSON.

    Raises
    ------
    ValueError
        If one is not of this form, or two have one key.
    """
    values = {}
    for text in options:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier() or key in values:
            raise ValueError("KEY=VALUE, each key once")
        values[key] = _as_json(value)
    return tuple(f"{key}={value}" for key, value in sorted(values.items()))


def option_values(options: Sequence[str]) -> dict[str, Any]:
    """Return the values of parameters that `option_texts` made."""
    pairs = (text.partition("=") for text in options)
    return {key: json.loads(value) for key, _, value in pairs}


def _as_json(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return json.dumps(text)


def require_named(wanted: str | None, given: str | None) -> None:
    """Refuse to run an extractor, if there is one, that the user did not name.

    Raises
    ------
    SpecError
        If it was not named, or another one was.
    """
    if given is not None and given != wanted:
        raise SpecError(f"the features are computed by {wanted or 'songbag itself'!r}, not {given!r}", place="features")
    if wanted is not None and given is None:
        raise unasked(wanted)


def unasked(name: str) -> SpecError:
    """Return the error for features of an extractor that the user did not name: it is code from outside songbag."""
    what = f"the features are computed by {name!r}, code from outside songbag, which is not run unasked"
    return SpecError(what, place="features", remedy=f"If you trust it, allow it by its name: `features='{name}'`.")
