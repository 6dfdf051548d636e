"""The feature function: windows of samples in, windows of features out."""

__all__ = ["windower"]
