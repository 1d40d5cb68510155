"""What makes the packaged weights."""
