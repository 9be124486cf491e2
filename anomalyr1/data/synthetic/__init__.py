"""Procedural images of industrial surfaces: products, defects with masks, lighting, a benchmark."""
