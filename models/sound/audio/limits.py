"""How much of a sound file is read. Imports nothing, for those who only want to know."""

from __future__ import annotations

LARGEST_BYTES = 10 << 20  # of a file
MOST_SECONDS = 60.0  # what is used of it
