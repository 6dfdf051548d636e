"""Whether the long forms of tests run, as `make test-long` asks for."""

from __future__ import annotations

import os

LONG = os.environ.get("SONGBAG_LONG") == "1"
