"""Strings to words, morphemes and windows."""
