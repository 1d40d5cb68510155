"""What prints every figure of speed and memory in the README."""
