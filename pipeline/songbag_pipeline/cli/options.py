"""The options of `extract`, each with its help; those of the features by the field of the spec that they set."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

_SPEC = "What to compute"
_RUN = "How to run"


class FeatureKind(enum.StrEnum):
    """Choices of `--features`."""

    MFCC = "mfcc"
    MFCC_DELTA = "mfcc+delta"
    MFCC_DELTAS = "mfcc+delta+delta2"
    LOGMEL = "logmel"
    LOGMEL_DELTA = "logmel+delta"
    LOGMEL_DELTAS = "logmel+delta+delta2"


class EncodingName(enum.StrEnum):
    """Choices of `--encoding`."""

    INT16 = "int16"
    FLOAT32 = "float32"


def _of_spec(help_: str, default: str) -> Any:
    # Unescaped, the bracket would be markup and vanish.
    return typer.Option(help=f"{help_} \\[default: {default}]".strip(), rich_help_panel=_SPEC)


def _of_run(*names: str, **options: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_RUN, **options)


Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Folder or bucket of songs, or a CSV or Parquet manifest.")
]
NewStore = Annotated[str, typer.Argument(metavar="STORE", help="A folder, s3://, gs:// or az://; made if need be.")]
Features = Annotated[FeatureKind | None, _of_spec("", "mfcc")]
NMfcc = Annotated[int | None, _of_spec("Coefficients.", "13")]
NMels = Annotated[int | None, _of_spec("Mel bands.", "128")]
SampleRate = Annotated[int | None, _of_spec("Hz.", "22050")]
NFft = Annotated[int | None, _of_spec("Samples.", "1024")]
HopLength = Annotated[int | None, _of_spec("Samples.", "512")]
Window = Annotated[float | None, _of_spec("Seconds.", "5")]
WindowHop = Annotated[float | None, _of_spec("Seconds.", "half a window")]
MaxDuration = Annotated[float | None, _of_spec("Only the first seconds.", "all")]
Encoding = Annotated[EncodingName | None, _of_spec("", "int16")]
LabelFromFolder = Annotated[bool, typer.Option("--label-from-folder", help="Column 'label': each song's first folder.")]
Workers = Annotated[int | None, _of_run(min=1, help="Processes. \\[default: one per core]")]
Limit = Annotated[int | None, _of_run(min=1, help="At most this many songs.")]
RetryFailed = Annotated[bool, _of_run("--retry-failed", help="Try failed songs again.")]
UpdateChanged = Annotated[bool, _of_run("--update-changed", help="Compute changed songs anew.")]
MaxFailed = Annotated[int | None, _of_run(min=0, help="Stop when more songs than this failed.")]
Scheduler = Annotated[str | None, _of_run(metavar="ADDRESS", help="Dask cluster to use: tcp://host:8786")]
SchedulerFile = Annotated[Path | None, _of_run(metavar="FILE", help="Dask cluster to use, by its file.")]


def spec_fields(features: FeatureKind | None, encoding: EncodingName | None, **numbers: float | None) -> dict[str, Any]:
    """Return the fields of `FeatureSpec` that were given."""
    kind, _, deltas = (features.value if features else "").partition("+")
    given = {
        "kind": kind or None,
        "deltas": deltas.count("delta") if features else None,
        "encoding": encoding.value if encoding else None,
        **numbers,
    }
    return {name: value for name, value in given.items() if value is not None}
