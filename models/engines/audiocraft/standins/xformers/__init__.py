"""Stands in for xformers: see `models/engines/audiocraft/standins/__init__.py`."""
