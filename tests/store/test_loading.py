"""What is shown of the lines that TensorFlow writes while it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from songbag_store.loading import LEVEL, shown
from tests.support.patience import PATIENCE_S

NOISE = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795719865.376250    5674 port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
W0000 00:00:1795719865.376707    5674 cudart_stub.cc:31] Could not find cuda drivers.
E0000 00:00:1795719880.095687    5921 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)
E0000 00:00:1795719880.095687    5921 cuda_fft.cc:477] Unable to register cuFFT factory: registered already
"""
NEWS = b"""E0000 00:00:1795719880.095687    5921 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_UNKNOWN (999)
Traceback (most recent call last):
a line of the user's own
"""


@pytest.mark.fault(115)
def test_lines_below_the_level_are_left_out_and_all_others_stay() -> None:
    assert shown(NOISE + NEWS, 2) == NEWS
    assert shown(NEWS + NOISE, 1).count(b"W0000") == 1
    assert b"(999)" not in shown(NEWS, 3)


@pytest.mark.fault(115)
def test_a_level_of_the_user_is_kept_and_a_failed_import_shows_everything() -> None:
    code = """
import os, sys
from songbag_store.loading import quiet
def load(error):
    with quiet():
        os.write(2, b"I0000 00:00:1.5 7 x.cc:1] a line\\n")
        if error:
            raise ImportError("no such library")
load(None)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
load(None)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
try:
    load("error")
except ImportError:
    os.write(2, b"end")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stderr == "I0000 00:00:1.5 7 x.cc:1] a line\n" * 2 + "end"


@pytest.mark.fault(115)
def test_a_module_of_the_user_is_loaded_as_quietly_as_the_commands_load_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(f"""
import os, songbag
os.write(2, {NOISE + NEWS!r})
@songbag.extractor(sample_rate_hz=8000, shape=(1, 1), version="1")
def nothing(windows):
    return windows[:, :1, None]
""")
    code = "from songbag_store import FeatureSpec; FeatureSpec.custom('noisy:nothing')"
    command = [sys.executable, "-c", code]
    variables = {name: value for name, value in os.environ.items() if name != LEVEL}
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True, cwd=tmp_path, env=variables)
    assert done.stderr == NEWS
