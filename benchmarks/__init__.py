"""What prints every figure of speed and memory in the README, and writes docs/results.md."""
