"""What is to be extracted: a folder, a manifest, a bucket."""

__all__ = ["bucket", "excerpts", "listing", "selection", "source"]
