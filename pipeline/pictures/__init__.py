"""Pictures outside the canvas: read from files of any kind, turned, resized, and written, all in row blocks."""
