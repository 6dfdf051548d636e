"""A run put to use: predict, export, embed, similar, and what it is."""

__all__ = ["embed", "export", "predict", "similar", "summary", "vectors"]
