"""Many photographs in one go: what they are, what their paintings are called, and what became of them."""
