"""songbag: decode a music collection once, keep its features, and train song-level models from them.

Almost every command of the command line is a function here, with the same words for its options: `songbag train` is
`train`, `songbag cross-validate` is `cross_validate`. SQL is `SongStore.sql`, ``train --from`` is `from_run`, ``train
--resume`` is `resume`, ``cross-validate --resume`` is `resume_cross_validation`, and ``relabel --from-tags`` is
`relabel_from_tags`::

    import songbag

    songbag.extract("songs", "my-store", songbag.FeatureSpec(n_mfcc=20))
    store = songbag.open("my-store")
    run = songbag.train(store, "genre", "my-run", songbag.TrainConfig(epochs=60))
    songbag.predict(run, "new-songs")

A name is imported when it is first used: ``import songbag`` alone loads neither TensorFlow nor Dask. Extraction needs
``pip install '.[pipeline]'`` in the checkout, training ``pip install '.[training]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from songbag_store.door import attach

if TYPE_CHECKING:
    from songbag_pipeline.features.windower import window_features as window_features
    from songbag_pipeline.run.config import ExtractConfig as ExtractConfig
    from songbag_pipeline.run.extract import extract as extract
    from songbag_pipeline.run.summary import Summary as Summary
    from songbag_pipeline.run.tags import relabel_from_tags as relabel_from_tags
    from songbag_pipeline.songs.direct import features_of as features_of, read_audio as read_audio
    from songbag_store import __version__ as __version__
    from songbag_store.doctor import doctor as doctor
    from songbag_store.errors import SongbagError as SongbagError
    from songbag_store.format.extractor import extractor as extractor
    from songbag_store.format.spec import FeatureSpec as FeatureSpec
    from songbag_store.likeness.copies import copies as copies
    from songbag_store.progress import Progress as Progress
    from songbag_store.storage.location import Location as Location
    from songbag_store.store import SongStore as SongStore, open as open
    from songbag_store.upkeep.change import relabel as relabel, remove as remove
    from songbag_store.upkeep.compact import compact as compact
    from songbag_store.upkeep.difference import diff as diff
    from songbag_store.upkeep.garbage import gc as gc
    from songbag_store.upkeep.summary import failures as failures, history as history
    from songbag_store.upkeep.verify import repair as repair
    from songbag_training.apply.embed import embed as embed
    from songbag_training.apply.explain import explain as explain
    from songbag_training.apply.export import export as export
    from songbag_training.apply.predict import predict as predict
    from songbag_training.apply.report import report as report
    from songbag_training.apply.similar import similar as similar
    from songbag_training.comparison.compare import Comparison as Comparison, compare as compare
    from songbag_training.comparison.listing import runs as runs
    from songbag_training.config import (
        BaselineConfig as BaselineConfig,
        PretrainConfig as PretrainConfig,
        TrainConfig as TrainConfig,
    )
    from songbag_training.fit.baselines.baseline import baseline as baseline
    from songbag_training.fit.cross_validation import (
        cross_validate as cross_validate,
        resume_cross_validation as resume_cross_validation,
    )
    from songbag_training.fit.pooled import CrossValidation as CrossValidation
    from songbag_training.fit.pretraining import pretrain as pretrain
    from songbag_training.fit.train import resume as resume, train as train
    from songbag_training.models.model import song_model as song_model, window_model as window_model
    from songbag_training.review.review import review as review
    from songbag_training.runs.evaluate import Evaluation as Evaluation, evaluate as evaluate
    from songbag_training.runs.run import Run as Run
    from songbag_training.runs.summary import info as info
    from songbag_training.runs.verification import verify as verify
    from songbag_training.search import Search as Search
    from songbag_training.songs.bags import BagDataset as BagDataset
    from songbag_training.songs.task import Task as Task
    from songbag_training.splits.division import split as split
    from songbag_training.splits.split import Split as Split
    from songbag_training.sweeps.sweep import Sweep as Sweep, sweep as sweep
    from songbag_training.work import Cluster as Cluster, PredictConfig as PredictConfig, TeamConfig as TeamConfig

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "songbag_store": ("__version__",),
        "songbag_pipeline.features.windower": ("window_features",),
        "songbag_pipeline.run.config": ("ExtractConfig",),
        "songbag_pipeline.run.extract": ("extract",),
        "songbag_pipeline.run.summary": ("Summary",),
        "songbag_pipeline.run.tags": ("relabel_from_tags",),
        "songbag_pipeline.songs.direct": ("features_of", "read_audio"),
        "songbag_store.doctor": ("doctor",),
        "songbag_store.errors": ("SongbagError",),
        "songbag_store.format.extractor": ("extractor",),
        "songbag_store.format.spec": ("FeatureSpec",),
        "songbag_store.likeness.copies": ("copies",),
        "songbag_store.progress": ("Progress",),
        "songbag_store.storage.location": ("Location",),
        "songbag_store.store": ("SongStore", "open"),
        "songbag_store.upkeep.change": ("relabel", "remove"),
        "songbag_store.upkeep.compact": ("compact",),
        "songbag_store.upkeep.difference": ("diff",),
        "songbag_store.upkeep.garbage": ("gc",),
        "songbag_store.upkeep.summary": ("failures", "history"),
        "songbag_store.upkeep.verify": ("repair",),
        "songbag_training.apply.embed": ("embed",),
        "songbag_training.apply.explain": ("explain",),
        "songbag_training.apply.export": ("export",),
        "songbag_training.apply.predict": ("predict",),
        "songbag_training.apply.report": ("report",),
        "songbag_training.apply.similar": ("similar",),
        "songbag_training.comparison.compare": ("Comparison", "compare"),
        "songbag_training.comparison.listing": ("runs",),
        "songbag_training.config": (
            "BaselineConfig",
            "PretrainConfig",
            "TrainConfig",
        ),
        "songbag_training.fit.baselines.baseline": ("baseline",),
        "songbag_training.fit.cross_validation": ("cross_validate", "resume_cross_validation"),
        "songbag_training.fit.pooled": ("CrossValidation",),
        "songbag_training.fit.pretraining": ("pretrain",),
        "songbag_training.fit.train": ("resume", "train"),
        "songbag_training.models.model": ("song_model", "window_model"),
        "songbag_training.review.review": ("review",),
        "songbag_training.runs.evaluate": ("Evaluation", "evaluate"),
        "songbag_training.runs.run": ("Run",),
        "songbag_training.runs.summary": ("info",),
        "songbag_training.runs.verification": ("verify",),
        "songbag_training.songs.bags": ("BagDataset",),
        "songbag_training.songs.task": ("Task",),
        "songbag_training.splits.division": ("split",),
        "songbag_training.splits.split": ("Split",),
        "songbag_training.search": ("Search",),
        "songbag_training.sweeps.sweep": ("Sweep", "sweep"),
        "songbag_training.work": ("Cluster", "PredictConfig", "TeamConfig"),
    },
)
