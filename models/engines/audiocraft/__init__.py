"""The engines of Meta's library audiocraft, which run in an environment of its own."""
