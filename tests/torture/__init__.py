"""The attack as a suite: what may happen to an index, and what strangers may send, over and over."""
