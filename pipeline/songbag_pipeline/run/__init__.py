"""A run of extraction: plan, coordinate, batch, workers."""

__all__ = ["config", "extract", "relay", "summary", "tags"]
