"""The engine that stands in for MusicGen where an operator allows it."""
