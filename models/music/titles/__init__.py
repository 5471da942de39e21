"""Which known song a title and an artist mean."""
