"""Training from the store: what it waits for, and the same network elsewhere."""
