"""Networks: encoders, poolings, layers, tasks."""
