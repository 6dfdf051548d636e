"""The windows of songs: fragments are written and read; shards and caches."""

__all__ = ["cache", "inside", "memory", "reader", "spans", "spill", "writer"]
