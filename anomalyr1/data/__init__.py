"""Benchmarks: read, build, check and split them."""
