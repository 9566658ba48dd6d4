"""What a film is made with where nobody says."""

DEFAULT_GENERATOR = "mini"
"""Chosen by measurement: it draws more of what was asked than `nano`, on four times the picture, and two cores still make a second of film in less
than two (docs/numbers.md)."""
