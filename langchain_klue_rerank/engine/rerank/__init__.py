"""Reranking: cascades, early stop, the blend with the first stage, confidence."""
