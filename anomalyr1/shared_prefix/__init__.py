"""What is shared is computed once."""
