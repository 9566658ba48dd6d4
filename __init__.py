"""filmwright turns a story into a film."""

__version__ = "0.1.0"
