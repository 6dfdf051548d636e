"""Splits: which songs train, validate and test."""

__all__ = ["copies", "deal", "division", "groups", "notes", "parts", "split"]
