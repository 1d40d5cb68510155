"""Ablations, pre-training from nothing, kinds of text left out."""
