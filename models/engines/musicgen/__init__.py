"""MusicGen: text and melodies become sound."""
