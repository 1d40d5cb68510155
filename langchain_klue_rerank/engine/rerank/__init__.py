"""Which candidates a reranker reads, and what its scores are worth."""
