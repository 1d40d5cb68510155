"""Every figure that the documentation quotes: measured by one command, kept in one file, written into every page."""
