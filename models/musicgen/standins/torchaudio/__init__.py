"""Stands in for torchaudio: see `models/musicgen/standins/__init__.py`."""

from . import transforms as transforms
