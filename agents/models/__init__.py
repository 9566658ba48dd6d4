"""Language models: one protocol, its providers, and what they cost."""
