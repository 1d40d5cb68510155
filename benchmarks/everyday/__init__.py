"""How far the confidence of an answer can be trusted, on questions as people type them."""
