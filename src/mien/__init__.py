"""mien: facial expression recognition that a person can train, trust and take anywhere."""

__version__ = "0.1.0"
