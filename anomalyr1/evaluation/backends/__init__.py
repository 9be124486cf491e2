"""Backends: who computes the answers of an evaluation. What is scored does not know which."""
