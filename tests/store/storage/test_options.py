"""Options of object stores: what is wrong is an error that names the option, before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from songbag_store import SongStore
from songbag_store.errors import SongbagError, StoreError, UnusableAddress, UsageError
from songbag_store.storage.location import Location, parse_size
from songbag_store.storage.objects import ObjectStorage
from songbag_store.storage.options import settings
from songbag_store.storage.refusals import panics_explained
from tests.support.command import songbag_here as songbag

pytestmark = pytest.mark.fault(105)
NOWHERE = {"access_key_id": "a", "secret_access_key": "secret", "region": "us-east-1", "endpoint": "http://127.0.0.1:9"}

BAD: list[tuple[str, Any]] = [
    *[("endpoint", value) for value in ("", "x", "::", "http://", "http://a b", "http://é/", "http://[::1", "//x")],
    *[
        ("endpoint", value)
        for value in ("http://h:99999", "http://h:0", "ftp://x", "http://a^b", "http://%zz", "http:x")
    ],
    *[("endpoint", value) for value in ("http://1.2.3.4.5", "http://999.1.1.1", "http://127.0.0.1:9\n", None, 5)],
    *[("aws_endpoint_url", "x"), ("proxy_url", "::"), ("proxy_url", "http://"), ("proxy_url", "")],
    *[("access_key_id", "a\n"), ("secret_access_key", "a\nb"), ("session_token", "\x00"), ("region", "eu\r")],
    *[("user_agent", "a\nb"), ("region", ["eu"]), ("region", "x" * 100_000)],
    *[("timeout", value) for value in ("", "x", "-1s", "0", "1e400", "9999years", "nan", None, -5, timedelta(0))],
    *[("connect_timeout", "1ns"), ("read_timeout", "9" * 400), ("pool_idle_timeout", timedelta(days=400))],
    *[("patience_s", value) for value in ("", "x", "nan", "-1", "inf", "1e400", "9" * 400, None)],
    *[
        ("allow_http", "maybe"),
        ("skip_signature", ""),
        ("aws_skip_signature", "2"),
        ("virtual_hosted_style_request", "x"),
    ],
    *[("root_certificate", "x"), ("pool_max_idle_per_host", "x"), ("pool_max_idle_per_host", "9" * 30)],
    *[("conditional_put", "x"), ("checksum_algorithm", "x"), ("server_side_encryption", "x"), ("bucket", "x")],
    *[("nonsense", "x"), ("a b", "x"), ("default_headers", "x"), ("account_name", "x")],
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value!r}"[:40] for name, value in BAD])
def test_a_wrong_option_is_named_and_its_value_is_not(name: str, value: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=f"storage_options: .*'{name}'") as refusal:
        SongStore.open(Location("s3://bucket/x", NOWHERE | {name: value}))
    assert refusal.value.exit_code == 2
    assert refusal.value.remedy
    if isinstance(value, str) and len(value) > 5 and value != "maybe":
        assert value not in str(refusal.value)
    # A panic of a library writes there.
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("scheme", "name", "value"),
    [
        ("gs", "base_url", "x"),
        ("gs", "bearer_token", "a\nb"),
        ("gs", "service_account", "/nowhere.json"),
        ("gs", "service_account_key", "{"),
        ("gs", "nonsense", "x"),
        ("az", "account_name", "a\nb"),
        ("az", "account_key", "x"),
        ("az", "endpoint", "http://"),
        ("az", "use_emulator", "perhaps"),
        ("az", "azure_storage_token", "a\n"),
    ],
)
def test_so_is_one_of_the_other_clouds(
    scheme: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    own = {"account_name": "a", "account_key": "YQ=="} if scheme == "az" else {}
    with pytest.raises(UsageError, match=f"'{name}'"):
        SongStore.open(Location(f"{scheme}://bucket/x", own | {name: value}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "address",
    [
        *("s3://b b/x", "s3://b\nb/x", "s3://[/x", "s3://@/x", "s3:///x", "s3://" + "b" * 300, "s3://b/a\nb"),
        *("gs://b b/x", "az://b\n/x", "s3://bü/x", "http://b/x", "s3a://b", "S3://b/x", "s3://b/../x"),
    ],
)
def test_an_address_that_is_none_is_refused(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        SongStore.open(Location(address, NOWHERE))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL", "x"),
        ("AWS_ENDPOINT_URL_S3", "http://"),
        ("AWS_REGION", "eu\n"),
        ("AWS_ACCESS_KEY_ID", "a\n"),
        ("AWS_SESSION_TOKEN", "a\n"),
    ],
)
def test_so_is_a_variable_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"variable '{variable}'"):
        SongStore.open(Location("s3://bucket/x", {"skip_signature": "true"}))
    assert capfd.readouterr() == ("", "")


def test_a_panic_that_nobody_foresaw_is_an_error_of_the_address() -> None:
    backend = S3Store("bucket", endpoint="http://a^b", skip_signature=True, client_options={"allow_http": True})
    with pytest.raises(UnusableAddress, match="cannot be used") as refusal, panics_explained("s3://bucket/x"):
        obstore.get(backend, "x")
    assert isinstance(refusal.value, (UsageError, StoreError))
    assert refusal.value.exit_code == 2
    assert isinstance(refusal.value, SongbagError)
    with pytest.raises(KeyboardInterrupt), panics_explained("s3://bucket/x"):
        raise KeyboardInterrupt


def test_a_panic_while_a_store_is_opened_is_no_damage_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = S3Store("bucket", endpoint="http://a^b", skip_signature=True, client_options={"allow_http": True})
    monkeypatch.setattr(ObjectStorage, "_connect", lambda self, key: backend)
    with pytest.raises(UnusableAddress):
        SongStore.open(Location("s3://bucket/x", NOWHERE))


def test_right_values_pass_with_the_types_that_the_library_takes() -> None:
    given = {"timeout": "2min", "connect_timeout": 5, "allow_http": "yes", "region": "eu", "user_agent": "me"}
    arguments, patience_s = settings("s3", given | {"patience_s": "7", "skip_signature": True}, place="s3://b")
    assert patience_s == 7
    assert arguments["client_options"] == {
        "timeout": timedelta(seconds=120),
        "connect_timeout": timedelta(seconds=5),
        "allow_http": True,
        "user_agent": "me",
    }
    assert arguments["config"] == {"region": "eu", "skip_signature": True}


def test_the_command_names_its_option() -> None:
    done = songbag("info", "s3://bucket/x", "--storage-option", "timeout=soon")
    assert done.returncode == 2
    assert done.stderr.startswith("songbag: --storage-option: the option 'timeout' is not a length of time")


@pytest.mark.parametrize("text", ["9" * 400 + "GB", "1" + "0" * 30, "99999999TB", "-5GB", "1e999GB", "nan", ""])
def test_a_size_that_no_disk_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cache_size"):
        parse_size(text)
