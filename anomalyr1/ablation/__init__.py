"""A list or grid of config changes x seeds under one base config: runs, and one table."""
