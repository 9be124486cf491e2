"""Making benchmarks: sources, questions, splits, synthetic images."""
