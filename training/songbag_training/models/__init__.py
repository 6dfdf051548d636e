"""Networks: encoders, poolings, layers, tasks."""

__all__ = ["contrast", "layers", "loss", "members", "model", "plugins", "poolings", "reference", "turning"]
