"""Records about a painting: its progress, its results, and what it depends on."""
