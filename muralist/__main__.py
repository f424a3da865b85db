"""`python -m muralist` does what the command `muralist` does."""

from .cli import main

main()
