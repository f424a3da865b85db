"""Where a run keeps what tasks leave for each other: files in a folder or under a URL."""
