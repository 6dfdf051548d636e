"""Songs as a few hundred numbers each, and a linear model and trees that learn from these. No TensorFlow here."""

__all__ = ["learning", "predictor", "scorer", "statistics"]
