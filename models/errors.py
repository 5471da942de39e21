"""The error tree. A message names what was wrong, what was expected and what to do."""


class KapelleError(Exception):
    """Base of every error a user may be shown as one line."""


class InputError(KapelleError):
    """What was asked for cannot be done as asked; asking differently helps."""


class ScoreError(InputError):
    """A MIDI file or a score that cannot be read, or holds no music."""


class CheckpointError(KapelleError):
    """A model file that is missing, damaged, hostile or of another kind."""


class RenderingError(KapelleError):
    """Sound or picture could not be made: a program, a SoundFont or disk space is missing."""


class DownloadError(KapelleError):
    """A file could not be fetched, or is not the one that was published."""
