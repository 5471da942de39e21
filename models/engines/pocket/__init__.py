"""The pocket model: a small network of the Los Angeles Music Composer family, trained by us and shipped here."""
