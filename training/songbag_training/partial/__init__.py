"""What is predicted of songs and not finished: kept on disk, so that the same call goes on with it."""

__all__ = ["parts", "scores"]
