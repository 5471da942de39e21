"""Turning logits into ids: sequences, sampling, and the batcher in which they share a network."""
