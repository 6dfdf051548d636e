"""What is to be extracted: a folder, a manifest, a bucket."""

__all__ = ["bounds", "bucket", "listing", "selection", "source"]
