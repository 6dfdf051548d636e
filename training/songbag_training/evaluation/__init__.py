"""How good predictions are: scores, metrics, intervals, calibration, tables."""

__all__ = [
    "calibration",
    "display",
    "doubt",
    "headline",
    "intervals",
    "leaks",
    "learners",
    "metrics",
    "picture",
    "predictions",
    "score",
    "thresholds",
    "window_labels",
    "window_metrics",
]
