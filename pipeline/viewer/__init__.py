"""Pages for a browser: a painting under a loupe, a batch at a glance, a painting while it grows."""
