"""Networks: encoders, poolings, layers, tasks."""

__all__ = ["contrast", "layers", "loss", "model", "plugins", "reference"]
