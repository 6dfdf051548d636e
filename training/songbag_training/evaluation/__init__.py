"""How good predictions are: scores, metrics, intervals, calibration, tables."""
