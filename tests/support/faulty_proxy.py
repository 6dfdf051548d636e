"""A proxy between a client and a real S3 server that loses, refuses or cuts what a test tells it to."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Rule = Callable[[str, str], str | None]
"""From method and path to a fault, or None for none.

``drop``: the request reaches the server, the connection is closed instead of its answer. ``refuse``: the same, but the
server never sees it. ``503:SlowDown``: this status and code without asking the server; ``503:SlowDown:after``: after
the server did it. ``cut``: half of the body of the answer. ``hang``: no answer for two seconds.
"""


class FaultyProxy:
    """An HTTP server on a free port; use it as a context.

    Attributes
    ----------
    rule : callable
        What goes wrong; may be set at any time.
    requests : list of (method, path, bytes of the answer's body)
        What was asked for.
    """

    def __init__(self, upstream: str) -> None:
        self.rule: Rule = lambda method, path: None
        self.requests: list[tuple[str, str, int]] = []
        handler = type("Handler", (_Handler,), {"proxy": self, "upstream": urlsplit(upstream).netloc})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def times(n: int, fault: str, method: str, part: str) -> Rule:
    """Return a rule that spoils the first `n` requests of a method whose path holds `part`."""
    left = [n]
    lock = threading.Lock()

    def rule(asked: str, path: str) -> str | None:
        with lock:
            if asked != method or part not in path or left[0] == 0:
                return None
            left[0] -= 1
            return fault

    return rule


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    upstream: str
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.rule(self.command, self.path) or ""
        if fault == "hang":
            time.sleep(2)
        status_text, _, code = fault.partition(":")
        code, _, after = code.partition(":")
        if code and not after:
            return self._answer(int(status_text), {}, _refusal(code))
        if fault == "refuse":
            return self._close()
        status, headers, answer = self._forward(body)
        self.proxy.requests.append((self.command, self.path, len(answer)))
        if fault == "drop":
            return self._close()
        if after:
            return self._answer(int(status_text), {}, _refusal(code))
        return self._answer(status, headers, answer, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
            return response.status, kept, response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        # The answer to HEAD gives the length of a body that does not come.
        length = headers.get("Content-Length", len(body)) if self.command == "HEAD" else len(body)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._close()

    def _close(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _refusal(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>Injected.</Message></Error>'.encode()
