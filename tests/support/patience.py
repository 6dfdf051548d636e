"""How long tests wait for what takes seconds: machines that run tests are busy, and only what hangs may fail."""

from __future__ import annotations

PATIENCE_S = 1800
