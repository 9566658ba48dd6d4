"""`python -m filmwright`."""

from .cli import main

main()
