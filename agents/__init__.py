"""Planner, casting, director, critic: the crew. No torch here; generators are known through `storyboard.stage`."""
