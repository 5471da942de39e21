"""The engines, a folder each, and the list of them."""
