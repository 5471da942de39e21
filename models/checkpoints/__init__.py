"""Model files: where they are published, how they are fetched, checked, converted and loaded."""
