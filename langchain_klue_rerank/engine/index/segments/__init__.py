"""Segments of an index: what is kept of passages, immutable, and the states that are made of them."""
