"""The version of this package, in its own module so that all others can import it."""

__version__ = "0.2.0"
