"""moto as a real S3 server process: ``python s3_server.py N [HOST]``; prints its address.

N is the number of names in a page of a listing; without a host, this machine alone is served.

moto looks whether an object exists and stores it in two steps, so that two conditional PUTs at once could both succeed.
S3 promises that one fails: here a PUT has the server for itself.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_application = DomainDispatcherApplication(create_backend_app)
_one_at_a_time = threading.Lock()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] != "PUT":
        return _application(environ, start_response)
    with _one_at_a_time:
        return list(_application(environ, start_response))


if __name__ == "__main__":
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = sys.argv[1]
    host = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1"
    server = make_server(host, 0, application, threaded=True)
    print(f"http://{host}:{server.server_port}", flush=True)
    server.serve_forever()
