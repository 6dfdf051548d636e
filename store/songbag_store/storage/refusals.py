"""What an object store's refusals mean for a user: one message for each thing that can be done about them."""

from __future__ import annotations

import re

from obstore.exceptions import (
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from songbag_store.errors import BackendRefused, StoreError, StoreUnavailable

_AGAIN = "Run the same command again later: what was committed is safe, and what was finished is taken over."

# The first that is found in the text of an error decides. Codes are matched as such: a song may be named like one.
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
_NOT_IMPLEMENTED = re.compile(r"<Code>NotImplemented<|501 Not Implemented")
_UNREACHABLE = re.compile(
    r"HTTP error|SlowDown|ServiceUnavailable|InternalError|RequestTimeout|status code: (408|429|5\d\d)|"
    r"error (decoding|reading) response|timed? ?out|connection",
    re.IGNORECASE,
)
_TOO_SHORT = re.compile(r"InvalidRange|416 |non-partial response|[Rr]ange started at|exceeded|bigger than the object")


def explained(error: Exception, place: str) -> StoreError:
    """Return what an error of obstore means: where, what, what to do. It holds no credentials.

    Returns
    -------
    error : StoreError
        `StoreUnavailable` where the same request may succeed a little later; `BackendRefused` where the object store
        does not know a conditional PUT.
    """
    text = str(error).partition("\n\nDebug source")[0]
    for pattern, what, remedy in _MEANINGS:
        if re.search(pattern, text):
            return StoreError(what, place=place, remedy=remedy)
    if isinstance(error, UnauthenticatedError | PermissionDeniedError):
        _, what, remedy = _MEANINGS[2 if isinstance(error, UnauthenticatedError) else -1]
        return StoreError(what, place=place, remedy=remedy)
    if _NOT_IMPLEMENTED.search(text) or isinstance(error, NotSupportedError):
        return BackendRefused(
            "there is no put-if-absent: the server does not know a conditional PUT",
            place=place,
            remedy="Use a server that honours If-None-Match, as S3, Google Cloud Storage and Azure Blob storage do.",
        )
    first = _first_line(text)
    if _UNREACHABLE.search(text):
        return StoreUnavailable(f"the object store does not answer as it should ({first})", place=place, remedy=_AGAIN)
    if isinstance(error, UnknownConfigurationKeyError) or "must be specified" in text:
        return StoreError(first, place=place, remedy="docs/object-stores.md lists the options.")
    return StoreError(f"the object store refused a request ({first})", place=place)


def is_lost_place(error: Exception) -> bool:
    """Tell a bucket that does not exist from an object that does not."""
    return re.search(_MEANINGS[0][0], str(error)) is not None


def is_too_short(error: BaseException | None) -> bool:
    """Tell whether a range was refused because the object ends before it."""
    return isinstance(error, BaseError) and _TOO_SHORT.search(str(error)) is not None


def _first_line(text: str) -> str:
    """Shorten the text of an error: the server's answer without its XML, at most 200 characters."""
    return re.sub(r"[:.]?\s*(<\?xml|<html|<Error|<!DOCTYPE).*", "", " ".join(text.split()))[:200]
