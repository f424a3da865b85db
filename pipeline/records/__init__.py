"""What is written down about a painting: how far it came, how it went, what it depends on."""
