"""A run put to use: predict, explain, export, embed, similar, and what it is."""

__all__ = ["embed", "explain", "export", "predict", "similar", "summary", "vectors"]
