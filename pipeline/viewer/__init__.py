"""Pages for a browser: one painting in detail, the overview of a batch, a painting in progress."""
