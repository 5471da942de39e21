"""Rendering: a score to sound and to a picture."""
