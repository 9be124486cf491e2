"""Checking and describing benchmarks."""
