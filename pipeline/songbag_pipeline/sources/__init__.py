"""What is to be extracted: a folder, a manifest, a bucket."""

__all__ = ["bucket", "listing", "selection", "source"]
