"""Training: `recipes` for users, `packaged` for the weights that ship, `experiments` for what was tried."""
