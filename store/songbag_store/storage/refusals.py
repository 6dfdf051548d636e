"""The errors of object stores, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from songbag_store.errors import BackendRefused, StoreError, StoreUnavailable, UnusableAddress

_AGAIN = "Run the same command again later: what was committed is safe, and finished songs are kept."

# Pattern, what, remedy; the first match decides. The tags around a code keep out songs that are named like one.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"<Code>(NoSuchBucket|ContainerNotFound)<|specified bucket does not exist",
        "the bucket does not exist",
        "Make it first with your provider's own tool, or correct the address.",
    ),
    (
        r"<Code>(ExpiredToken|TokenRefreshRequired|RequestExpired)<|token (is|has) expired",
        "the credentials have expired",
        "Get new ones (a new login or session token) and run the same command again.",
    ),
    (
        r"<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|AuthenticationFailed|UnrecognizedClient)<",
        "the credentials are not accepted",
        "Check access key and secret (for az:// account name and key), and that they belong to this endpoint.",
    ),
    (
        r"//169\.254\.16[89]\.254|//metadata\.google\.internal|MissingCredential",
        "no credentials were found",
        "Set them in the environment, name a profile, or give `storage_options` (access_key_id, secret_access_key).",
    ),
    (
        r"<Code>(PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint)<|redirect without LOCATION",
        "the bucket lies in another region",
        "Give its region: region=NAME among `storage_options`, or AWS_REGION in the environment.",
    ),
    (
        r"<Code>(AccessDenied|AllAccessDisabled|AuthorizationPermissionMismatch)<|403 Forbidden",
        "access is denied",
        "The credentials are known but lack a permission: reading needs GET and LIST, extraction also PUT and DELETE.",
    ),
)
_NOT_ACCEPTED, _NOT_ALLOWED = _MEANINGS[2], _MEANINGS[-1]
_UNREACHABLE = re.compile(
    r"HTTP error|SlowDown|ServiceUnavailable|InternalError|RequestTimeout|status code: (408|429|5\d\d)|"
    r"error (decoding|reading) response|timed? ?out|connection",
    re.IGNORECASE,
)
_TOO_SHORT = re.compile(r"InvalidRange|416 |non-partial response|[Rr]ange started at|exceeded|bigger than the object")


def explained(error: Exception, place: str) -> StoreError:
    """Return the error of songbag for an error of obstore. It holds no credentials.

    Returns
    -------
    error : StoreError
        `StoreUnavailable` if the same request may succeed later; `BackendRefused` if the server does not know a
        conditional PUT.
    """
    text, kind = str(error).partition("\n\nDebug source")[0], type(error).__name__
    # The server's answer without its XML.
    first = re.sub(r"[:.]?\s*(<\?xml|<html|<Error|<!DOCTYPE).*", "", " ".join(text.split()))[:200]
    by_kind = {"UnauthenticatedError": _NOT_ACCEPTED, "PermissionDeniedError": _NOT_ALLOWED}
    known = next((meaning for meaning in _MEANINGS if re.search(meaning[0], text)), by_kind.get(kind))
    if known:
        return StoreError(known[1], place=place, remedy=known[2])
    if re.search(r"<Code>NotImplemented<|501 Not Implemented", text) or kind == "NotSupportedError":
        what = "there is no put-if-absent: the server does not know a conditional PUT"
        remedy = "Use a server that honours If-None-Match, as S3, Google Cloud Storage and Azure Blob storage do."
        return BackendRefused(what, place=place, remedy=remedy)
    if _UNREACHABLE.search(text):
        return StoreUnavailable(f"the object store does not answer as it should ({first})", place=place, remedy=_AGAIN)
    return StoreError(f"the object store refused a request ({first})", place=place)


def wrong_option(error: Exception, name: str | None, place: str) -> UnusableAddress:
    """Return the error for options that obstore refuses; the message shows no value, which may be a secret.

    Parameters
    ----------
    name : str or None
        The option that is wrong; None if obstore misses one, or if it is a variable of the environment.
    """
    remedy = "docs/how-to/songs/object-stores.md lists the options, and the environment variables for them."
    if type(error).__name__ == "UnknownConfigurationKeyError" and name:
        return UnusableAddress(
            f"there is no option {name!r} for this kind of address", place="storage_options", remedy=remedy
        )
    if name:
        return UnusableAddress(f"the option {name!r} has a wrong value", place="storage_options", remedy=remedy)
    missing = re.search(r"[A-Za-z_ ]+ must be specified", str(error))
    what = f"the options are refused ({missing[0].strip() if missing else 'a variable of the environment is wrong'})"
    return UnusableAddress(what, place=place, remedy=remedy)


@contextmanager
def panics_explained(place: str) -> Iterator[None]:
    """Turn a panic of a Rust library into an error that says where to look.

    A panic is raised as an exception that is no `Exception`, so code that handles errors does not see it. The panics
    that are known come from values that cannot stand in a URL or in a header of HTTP.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        what = "the address, an option, or a variable of the environment that stands for one, cannot be used"
        remedy = "Look for a line break at the end of a key, and at endpoint, region and bucket."
        raise UnusableAddress(what, place=place, remedy=remedy) from error


def is_lost_place(error: Exception) -> bool:
    """Return whether the bucket does not exist, and not just the object."""
    return re.search(_MEANINGS[0][0], str(error)) is not None


def is_too_short(error: BaseException | None) -> bool:
    """Return whether a range was refused because the object ends before it."""
    return isinstance(error, BaseError) and _TOO_SHORT.search(str(error)) is not None
