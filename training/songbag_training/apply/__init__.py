"""A finished run put to use: predict, export."""

__all__ = ["export", "predict"]
