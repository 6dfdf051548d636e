"""A run of extraction: plan, coordinate, batch, cluster, workers."""

__all__ = ["config", "extract", "summary", "tags"]
