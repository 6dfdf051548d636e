"""The life of a store: relabel, remove, compact, gc, verify, repair, and what is in it."""

__all__ = ["compact", "garbage", "relabel", "remove", "summary", "verify"]
