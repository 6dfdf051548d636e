"""What `songbag doctor` finds out about training: TensorFlow is loaded and asked for its devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from songbag_store.doctor import Finding, broken, missing_extra
from songbag_store.loading import quiet

_PART = "devices"
_DRIVER = Path("/proc/driver/nvidia/version")
_TENSOR_CORES = (7, 0)
"""The compute capability from which a GPU is faster in float16."""


def findings() -> Iterator[Finding]:
    """Yield what a training would run on."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        remedy = "Unset KERAS_BACKEND, or set it to tensorflow."
        yield Finding(_PART, "Keras", "wrong", "its backend is chosen to be another one than TensorFlow", remedy)
        return
    try:
        with quiet():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        if error.name == "tensorflow":
            yield missing_extra(_PART, "TensorFlow", "training")
            return
        yield broken(_PART, "TensorFlow", error, "Install it again: pip install --force-reinstall 'songbag[training]'")
        return
    except Exception as error:  # a native library that cannot be loaded
        yield broken(_PART, "TensorFlow", error, "Install it again: pip install --force-reinstall tensorflow")
        return
    yield Finding(_PART, "TensorFlow", "works", f"{tf.__version__}, {_build(tf)}")
    yield from _gpus(tf)


def _build(tf: Any) -> str:
    return "built for GPUs" if tf.test.is_built_with_cuda() or tf.test.is_built_with_rocm() else "built for CPUs alone"


def _gpus(tf: Any) -> Iterator[Finding]:
    gpus = tf.config.list_physical_devices("GPU")
    for number, gpu in enumerate(gpus):
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        mixed = "--mixed-precision is faster" if capability >= _TENSOR_CORES else "no tensor cores"
        yield Finding(_PART, f"GPU {number}", "works", f"{details.get('device_name', 'unknown')}, {mixed}")
    if gpus:
        return
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        remedy = "Unset CUDA_VISIBLE_DEVICES to train on the GPUs of this machine."
        yield Finding(_PART, "GPU", "missing", "hidden by CUDA_VISIBLE_DEVICES", remedy)
    elif _DRIVER.exists():
        remedy = "Install its libraries with: pip install 'tensorflow[and-cuda]'; see docs/how-to/training/gpu.md."
        yield Finding(_PART, "GPU", "wrong", "there is an NVIDIA driver, but TensorFlow sees no GPU", remedy)
    else:
        yield Finding(_PART, "GPU", "missing", "none: trainings run on the CPU")
