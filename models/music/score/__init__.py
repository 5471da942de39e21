"""Scores: notes with onset, duration, pitch, velocity and instrument, and the MIDI files that hold them."""

from models.music.score.midi import read_midi, write_midi
from models.music.score.notes import NOTE, Metre, Score, Tempo

__all__ = ["NOTE", "Metre", "Score", "Tempo", "read_midi", "write_midi"]
