"""One module an attack, found by its name: add a file with an `ATTACKS` list and it is run."""
