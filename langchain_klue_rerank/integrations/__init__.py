"""Thin adapters for other frameworks, each in its own extra."""
