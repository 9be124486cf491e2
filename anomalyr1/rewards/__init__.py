"""ROAM: what a completion is worth."""
