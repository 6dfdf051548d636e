"""How good predictions are: scores, metrics, intervals, calibration, tables."""

__all__ = ["calibration", "display", "intervals", "leaks", "metrics", "predictions", "score", "window_metrics"]
