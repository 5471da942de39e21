"""Stands in for xformers: see `models/musicgen/standins/__init__.py`."""
