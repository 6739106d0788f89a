"""`python -m app.cli`: the same as `rentgate`."""

from app.cli import main

main()
