"""Stands in for torchaudio: see `models/engines/audiocraft/standins/__init__.py`."""

from . import transforms as transforms
