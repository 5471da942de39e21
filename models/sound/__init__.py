"""Sound and pictures of it: files read and written, notes rendered."""
