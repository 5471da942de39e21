"""Music as notes, words and numbers: scores, vocabularies, titles, attributes. Knows no network."""
