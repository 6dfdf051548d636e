"""Bags of windows in batches, in an order that is a pure function of integers."""

__all__ = ["bags"]
