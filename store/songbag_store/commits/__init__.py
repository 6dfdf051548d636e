"""The committed states of a store: snapshots, the parts they take in, their history."""

__all__ = ["history", "identity", "merge", "parts", "snapshots", "waiting"]
