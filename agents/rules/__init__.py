"""The `rules` planner: pattern matching over a story. No model, no network, no understanding."""
