"""`python -m mien`, the same as `mien`."""

from mien.cli import main

main()
