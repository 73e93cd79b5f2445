"""`python -m ska_edge`."""

from .cli import main

main()
