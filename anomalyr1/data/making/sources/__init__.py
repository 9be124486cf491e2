"""Readers of public data sets and of a user's own folders: one file a family."""
