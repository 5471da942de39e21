"""Sound as samples: reading what members send, loudness, and writing files."""
