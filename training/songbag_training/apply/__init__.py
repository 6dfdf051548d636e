"""A run put to use: predict, export, and what it is."""

__all__ = ["export", "predict", "summary"]
