"""The run folder: what a training leaves behind, and how good it is."""
