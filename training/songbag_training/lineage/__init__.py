"""What a training goes on from: another run, or its own earlier epochs."""

__all__ = ["extension", "parent"]
