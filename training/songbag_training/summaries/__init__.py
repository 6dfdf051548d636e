"""Songs as a few hundred numbers each, and a linear model and trees that learn from these.

TensorFlow is loaded for `blend` alone.
"""

__all__ = ["blend", "learning", "predictor", "scorer", "statistics", "trees"]
