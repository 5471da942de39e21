"""The command line. Only here does anything get printed.

What takes long to import is imported by the command that needs it, so that `--help` is quick.
"""
