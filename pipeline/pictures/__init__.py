"""Picture files: reading, rotating, resizing and writing them, in row blocks."""
