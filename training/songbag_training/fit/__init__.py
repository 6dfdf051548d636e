"""Training: one run, its resumption, cross-validation."""

__all__ = ["contradictions", "cross_validation", "material", "train"]
