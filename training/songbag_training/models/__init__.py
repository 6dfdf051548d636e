"""Networks: encoders, poolings, layers, tasks."""

__all__ = ["layers", "loss", "model", "plugins", "reference"]
