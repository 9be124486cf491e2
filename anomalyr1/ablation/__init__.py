"""A list or grid of config changes x seeds: runs, variants against a baseline, tables, plots."""
