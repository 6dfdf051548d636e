"""Splits: which songs train, validate and test."""

__all__ = ["balance", "copies", "deal", "division", "groups", "notes", "split"]
