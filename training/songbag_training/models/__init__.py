"""Networks: encoders, members, poolings, layers, losses."""

__all__ = ["contrast", "layers", "loss", "members", "model", "plugins", "poolings", "reference", "turning"]
