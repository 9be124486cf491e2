"""Procedural images of industrial surfaces: products, defects with masks, lighting, a benchmark."""

from anomalyr1.data.synthetic.build import synthesize

__all__ = ["synthesize"]
