"""The version of this package, apart from it so that every room can say it."""

__version__ = "0.2.0"
