"""The parts of `training.reproduce`: its settings, its plan, the tutorial's measurement and the report."""
