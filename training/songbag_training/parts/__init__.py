"""Parts of a training that may be exchanged: optimizer, learning rates, callbacks, and where it is logged."""

__all__ = ["parts", "schedule", "tracking"]
