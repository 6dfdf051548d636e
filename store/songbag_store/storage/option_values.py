"""The values of storage options, checked before a library of the object stores gets them: some end the process."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from songbag_store.errors import UsageError

_SWITCHES = frozenset(
    {"allow_http", "allow_invalid_certificates", "disable_tagging", "disable_bulk_delete", "http1_only", "http2_only"}
    | {"imdsv1_fallback", "randomize_addresses", "s3_express", "skip_signature", "sse_bucket_key_enabled"}
    | {"unsigned_payload", "use_azure_cli", "use_emulator", "use_fabric_endpoint", "virtual_hosted_style_request"}
)
_DURATIONS = frozenset({"connect_timeout", "pool_idle_timeout", "read_timeout", "timeout"})
_ADDRESSES = frozenset(
    {"authority_host", "base_url", "endpoint", "endpoint_url", "endpoint_url_s3", "metadata_endpoint", "msi_endpoint"}
    | {"proxy_url", "sts_endpoint"}
)
_MANY_LINES = frozenset(
    {"proxy_ca_certificate", "root_certificate", "service_account_key", "google_service_account_key"}
)
_YES_NO = {"1": True, "true": True, "on": True, "yes": True, "y": True} | dict.fromkeys(
    ("0", "false", "off", "no", "n"), False
)
_UNITS_S = {"ms": 0.001, "": 1, "s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "hr": 3600}
_SCHEMES = ("http", "https", "socks5")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([a-z]*)")
_PREFIX = re.compile("^(aws|google|azure)_(storage_)?")
_LONGEST_S = 7 * 86_400
_LONGEST_TEXT = 65_536


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the types that obstore takes.

    Raises
    ------
    UsageError
        If a value is not of its option's kind. The message never shows it: it may be a secret.
    """
    return {name: _checked(name, value) for name, value in options.items()}


def require_environment(prefixes: tuple[str, ...]) -> None:
    """Check the variables of the environment that stand for options.

    Raises
    ------
    UsageError
        If one is an address that is none, or holds a line break or another control character.
    """
    for variable, value in os.environ.items():
        kind = re.sub(_PREFIX, "", variable.lower())
        if variable.startswith(prefixes) and value and kind not in _SWITCHES | _DURATIONS:
            try:
                _checked(variable.lower(), value)
            except UsageError as error:
                what = error.what.replace(repr(variable.lower()), repr(variable)).replace("option", "variable", 1)
                raise UsageError(what, place="environment", remedy=error.remedy) from None


def _checked(name: str, value: Any) -> Any:
    if not isinstance(name, str):
        raise refused(str(name), "has a name that is not a text", "Give names as texts.")
    kind = re.sub(_PREFIX, "", name)
    if kind in _SWITCHES:
        return _switch(name, value)
    if kind in _DURATIONS:
        return timedelta(seconds=seconds_of(name, value))
    if isinstance(value, bytes) and kind in _MANY_LINES:
        return value
    if not isinstance(value, (str, int, float)):
        raise refused(name, "is not a text", "Give a text.")
    text = str(value)
    lines = "\n\r\t" if kind in _MANY_LINES else ""
    if len(text) > _LONGEST_TEXT or any(not c.isprintable() and c not in lines for c in text):
        raise refused(name, "holds a line break or another control character, or is too long", "Give it on one line.")
    if kind in _ADDRESSES:
        _require_address(name, text)
    return text


def seconds_of(name: str, value: Any) -> float:
    """Return the seconds that a length of time like ``30``, ``30s`` or ``2min`` means.

    Raises
    ------
    UsageError
        If it is none, is not above 0 or is longer than a week.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    else:
        found = _SPAN.fullmatch(str(value).strip())
        seconds = float(found[1]) * _UNITS_S.get(found[2], -1) if found else -1
    if not 0 < seconds <= _LONGEST_S:
        raise refused(name, "is not a length of time up to a week", "Write it like 30s or 2min.")
    return seconds


def _switch(name: str, value: Any) -> bool:
    given = _YES_NO.get(str(value).strip().lower())
    if given is None:
        raise refused(name, "is neither true nor false", "Write true or false.")
    return given


def _require_address(name: str, text: str) -> None:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        # What ends in a number is read as an address of numbers: 1.2.3.4.5 is none.
        if ":" in host or host.rpartition(".")[2].isdigit():
            ip_address(host)
        fits = parts.scheme in _SCHEMES and _HOST.fullmatch(host) is not None and parts.port != 0
    except ValueError:
        fits = False
    if not fits or re.search(r"\s", text):
        raise refused(name, "is not an address", "Write it like https://host:9000.")


def refused(name: str, what: str, remedy: str) -> UsageError:
    """Return the error for the value of an option; it does not show the value."""
    return UsageError(f"the option {name!r} {what}", place="storage_options", remedy=remedy)
