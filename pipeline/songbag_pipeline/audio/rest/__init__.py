"""What lies behind the recording that a file begins with."""

__all__ = ["first"]
