"""The command line: parse, call a verb, print."""


def main() -> None:
    """Entry point of `mien`."""
    raise NotImplementedError
