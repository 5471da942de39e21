"""Getting published models: where they are, downloading, unpacking."""
