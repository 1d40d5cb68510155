"""A transformer bi-encoder at four bits, which needs neither torch nor transformers."""
