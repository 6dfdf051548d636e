"""A run put to use: predict, explain, export, embed, similar, report."""

__all__ = ["embed", "explain", "export", "predict", "report", "similar", "vectors"]
