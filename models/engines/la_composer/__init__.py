"""Los Angeles Music Composer: the published network, primed with the beginning of a song that is called alike."""
