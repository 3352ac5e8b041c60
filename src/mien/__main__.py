"""`mien` and `python -m mien`: the command line."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as it does later."""
    try:
        from mien.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
