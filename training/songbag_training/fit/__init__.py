"""Training: one run, its resumption, cross-validation."""

__all__ = ["cross_validation", "material", "train", "trial", "trials"]
