"""What a piece is made of besides its notes: chords, phrases that return, the plan of a piece."""
