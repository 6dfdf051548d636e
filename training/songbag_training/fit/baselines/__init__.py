"""Baselines: one run, or one for each fold."""

__all__ = ["baseline", "floor", "learner"]
