"""songbag: decode a music collection once, keep its features, and train song-level models from them.

Every command of the command line is a function here, with the same name and the same words for its options::

    import songbag

    songbag.extract("songs", "my-store", songbag.FeatureSpec(n_mfcc=20))
    store = songbag.open("my-store")
    run = songbag.train(store, "genre", "my-run", songbag.TrainConfig(epochs=60))
    songbag.predict(run, "new-songs")

A name is imported when it is first used: ``import songbag`` alone loads neither TensorFlow nor Dask. Extraction needs
``pip install 'songbag[pipeline]'``, training ``pip install 'songbag[training]'``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from songbag_store import __version__

if TYPE_CHECKING:
    from songbag_pipeline.features.kernel import window_features
    from songbag_pipeline.run.config import ExtractConfig
    from songbag_pipeline.run.extract import extract
    from songbag_pipeline.run.summary import Summary
    from songbag_pipeline.songs.direct import features_of
    from songbag_pipeline.songs.song import read_audio
    from songbag_store.errors import SongbagError
    from songbag_store.format.spec import FeatureSpec
    from songbag_store.progress import Progress
    from songbag_store.storage.location import Location
    from songbag_store.store import SongStore, open
    from songbag_store.upkeep.change import relabel, remove
    from songbag_store.upkeep.compact import compact
    from songbag_store.upkeep.garbage import gc
    from songbag_store.upkeep.summary import failures, history, info
    from songbag_store.upkeep.verify import repair, verify
    from songbag_training.apply.export import export
    from songbag_training.apply.predict import predict
    from songbag_training.config import TrainConfig
    from songbag_training.fit.cross_validation import CrossValidation, cross_validate
    from songbag_training.fit.train import resume, train
    from songbag_training.models.model import song_model, window_model
    from songbag_training.runs.evaluate import Evaluation, evaluate
    from songbag_training.runs.run import Run
    from songbag_training.songs.bags import BagDataset
    from songbag_training.songs.task import Task
    from songbag_training.splits.division import split
    from songbag_training.splits.split import Split

__all__ = [
    "BagDataset",
    "CrossValidation",
    "Evaluation",
    "ExtractConfig",
    "FeatureSpec",
    "Location",
    "Progress",
    "Run",
    "SongStore",
    "SongbagError",
    "Split",
    "Summary",
    "Task",
    "TrainConfig",
    "__version__",
    "compact",
    "cross_validate",
    "evaluate",
    "export",
    "extract",
    "failures",
    "features_of",
    "gc",
    "history",
    "info",
    "open",
    "predict",
    "read_audio",
    "relabel",
    "remove",
    "repair",
    "resume",
    "song_model",
    "split",
    "train",
    "verify",
    "window_features",
    "window_model",
]

_HOMES: dict[str, dict[str, tuple[str, ...]]] = {
    "songbag_store": {
        "errors": ("SongbagError",),
        "format.spec": ("FeatureSpec",),
        "progress": ("Progress",),
        "storage.location": ("Location",),
        "store": ("SongStore", "open"),
        "upkeep.compact": ("compact",),
        "upkeep.garbage": ("gc",),
        "upkeep.change": ("relabel", "remove"),
        "upkeep.summary": ("failures", "history", "info"),
        "upkeep.verify": ("repair", "verify"),
    },
    "songbag_pipeline": {
        "features.kernel": ("window_features",),
        "run.config": ("ExtractConfig",),
        "run.extract": ("extract",),
        "run.summary": ("Summary",),
        "songs.direct": ("features_of",),
        "songs.song": ("read_audio",),
    },
    "songbag_training": {
        "apply.export": ("export",),
        "apply.predict": ("predict",),
        "config": ("TrainConfig",),
        "fit.cross_validation": ("CrossValidation", "cross_validate"),
        "fit.train": ("resume", "train"),
        "models.model": ("song_model", "window_model"),
        "runs.evaluate": ("Evaluation", "evaluate"),
        "runs.run": ("Run",),
        "songs.bags": ("BagDataset",),
        "songs.task": ("Task",),
        "splits.division": ("split",),
        "splits.split": ("Split",),
    },
}
_HOME_OF = {
    name: f"{package}.{module}"
    for package, modules in _HOMES.items()
    for module, names in modules.items()
    for name in names
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    Raises
    ------
    songbag_store.errors.MissingExtra
        If what it needs is not installed.
    """
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME_OF[name]
    try:
        value = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("songbag"):
            raise
        from songbag_store.errors import MissingExtra

        extra = home.partition(".")[0].removeprefix("songbag_")
        raise MissingExtra(extra, error.name or "", place=f"songbag.{name}") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
