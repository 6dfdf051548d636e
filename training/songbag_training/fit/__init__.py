"""Training: one run, its resumption, cross-validation."""

__all__ = ["cross_validation", "heritage", "material", "pretraining", "train", "trial", "trials"]
