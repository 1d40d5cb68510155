"""A transformer bi-encoder in bytes, which needs neither torch nor transformers."""
