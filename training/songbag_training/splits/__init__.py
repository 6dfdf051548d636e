"""Splits: which songs train, validate and test."""

__all__ = ["deal", "division", "groups", "split"]
