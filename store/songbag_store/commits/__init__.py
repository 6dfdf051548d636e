"""The committed states of a store: snapshots, the parts they take in, their history."""
