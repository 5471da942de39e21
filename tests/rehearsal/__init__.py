"""A rehearsal: the real bot meets a Discord on loopback, two students ask, and the threads become a page.

`make run`, or `python -m tests.rehearsal --out rehearsal`.
"""
