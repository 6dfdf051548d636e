"""Real object store servers, started as processes, and what the tests of all packages need to reach them."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import PATIENCE_S

BUCKET = "songs-bucket"
PAGE_NAMES = 100
"""Names in a page of a listing; S3 gives 1000, which would take long to fill."""
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
KEYS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


def options(endpoint: str, **more: str) -> dict[str, str]:
    """Return the storage options of a server; patience is short, for the faults of tests do not pass."""
    return {**KEYS, "endpoint": endpoint, "patience_s": "5", **more}


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto with one bucket; yield its address."""
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(PAGE_NAMES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            assert endpoint.startswith("http://"), "moto did not start"
            make_bucket(endpoint, BUCKET)
            yield endpoint
        finally:
            process.kill()


def make_bucket(endpoint: str, name: str) -> None:
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT", headers={"Authorization": AUTHORIZATION})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.status == 200


@contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Run ``rclone serve s3``, which replaces objects whatever If-None-Match says; yield its address."""
    rclone = Path(sys.executable).with_name("rclone")
    (folder / BUCKET).mkdir(parents=True)
    command = [str(rclone), "--config", "", "serve", "s3", "--addr", "127.0.0.1:0", str(folder)]
    log = folder.parent / "rclone.log"
    with log.open("w") as file, subprocess.Popen(command, stderr=file, stdout=file) as process:
        try:
            yield _address_in(log)
        finally:
            process.kill()


def _address_in(log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        _, found, rest = log.read_text().partition("http://")
        if found and "/" in rest:
            return found + rest.partition("/")[0]
        time.sleep(0.05)
    raise AssertionError(f"rclone did not start: {log.read_text()}")
