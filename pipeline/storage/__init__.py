"""Storage of a run: the files that tasks exchange, in a folder or under a URL."""
