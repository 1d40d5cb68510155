"""Flat arrays in memory and on disk."""
