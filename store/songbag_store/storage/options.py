"""Credentials and endpoints of object stores, from options, the environment and AWS's profile files."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from songbag_store.errors import UsageError
from songbag_store.storage.option_values import checked, refused, require_environment

_CLIENT_OPTIONS = frozenset(
    {"allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only", "pool_idle_timeout"}
    | {"pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url", "randomize_addresses"}
    | {"read_timeout", "root_certificate", "timeout", "user_agent"}
)
_VARIABLES = {"s3": ("AWS_",), "gs": ("GOOGLE_",), "az": ("AZURE_",)}
_PATIENCE_S = 60.0
_TIMEOUT_S = 120.0
_PROFILE_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


def settings(scheme: str, options: Mapping[str, str], *, place: str) -> tuple[dict[str, Any], float]:
    """Return how to reach an object store.

    Parameters
    ----------
    scheme : str
        ``s3``, ``gs`` or ``az``.
    options : mapping of str to str
        obstore's names for the kind of store (with or without their ``aws_``, ``google_`` or ``azure_``) and for its
        HTTP client. ``profile`` (S3) and ``patience_s`` are songbag's own.

    Returns
    -------
    arguments : dict
        Keyword arguments of obstore's store. They hold secrets: never show them.
    patience_s : float
        How long a failed request is tried again, 60 seconds by default.

    Raises
    ------
    UsageError
        If the value of an option is not of its kind, or the profile is missing or has no keys.
    """
    require_environment(_VARIABLES[scheme])
    config: dict[str, Any] = checked(options)
    patience_s = _seconds(config.pop("patience_s", _PATIENCE_S))
    client: dict[str, Any] = {name: config.pop(name) for name in sorted(_CLIENT_OPTIONS & config.keys())}
    if scheme == "s3":
        config = checked(_profile(config.pop("profile", None), config, place)) | config
    client.setdefault("timeout", timedelta(seconds=_TIMEOUT_S))
    if _endpoint(scheme, config).startswith("http://"):
        client.setdefault("allow_http", "true")
    backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2}
    retry = {"max_retries": 50, "retry_timeout": timedelta(seconds=patience_s), "backoff": backoff}
    return {"config": config, "client_options": client, "retry_config": retry}, patience_s


def _seconds(value: str | float) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 86_400:
        raise refused("patience_s", "is not a number of seconds below a day", "Write it like 60.")
    return seconds


def _endpoint(scheme: str, config: Mapping[str, Any]) -> str:
    """Return the endpoint that the user chose, or an empty text."""
    names = ("aws_endpoint_url_s3", "endpoint", "endpoint_url", "aws_endpoint", "aws_endpoint_url")
    variables = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "az": ("AZURE_STORAGE_ENDPOINT",)}
    given = [config.get(name) for name in names] + [os.environ.get(name) for name in variables.get(scheme, ())]
    return next((str(value) for value in given if value), "")


def _profile(name: str | None, options: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return what AWS's files hold of a profile; nothing if keys are given and no profile is named."""
    keys_given = {"access_key_id", "aws_access_key_id", "skip_signature", "aws_skip_signature"} & options.keys()
    if name is None and (keys_given or os.environ.get("AWS_ACCESS_KEY_ID")):
        return {}
    wanted = name or os.environ.get("AWS_PROFILE") or "default"
    section = wanted if wanted == "default" else f"profile {wanted}"
    found = _section("AWS_CONFIG_FILE", "config", section, place)
    found |= _section("AWS_SHARED_CREDENTIALS_FILE", "credentials", wanted, place)
    if name and "aws_access_key_id" not in found:
        what = f"the profile {name!r} is not in AWS's files, or holds no access key"
        command = f'eval "$(aws configure export-credentials --profile {name!r} --format env)"'
        remedy = f"For a login without keys put them in the environment: {command}"
        raise UsageError(what, place=place, remedy=remedy)
    return {_PROFILE_KEYS[key]: value for key, value in found.items() if key in _PROFILE_KEYS}


def _section(variable: str, file: str, section: str, place: str) -> dict[str, str]:
    path = Path(os.environ.get(variable) or Path.home() / ".aws" / file)
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a file of AWS's form ({type(error).__name__})", place=place) from error
    return dict(parser[section]) if section in parser else {}
