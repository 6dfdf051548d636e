"""Training: one run, its resumption, cross-validation, baselines."""

__all__ = [
    "cross_validation",
    "decision",
    "heritage",
    "material",
    "pooled",
    "pretraining",
    "record",
    "team",
    "train",
    "trial",
    "trials",
]
