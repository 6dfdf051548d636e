"""The windows of songs: fragments written and read, the shards and the cache below them."""

__all__ = ["cache", "chunk_memory", "reader", "spans", "spill", "writer"]
