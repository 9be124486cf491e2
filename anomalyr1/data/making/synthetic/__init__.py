"""Procedural images of industrial surfaces: products, defects with masks, lighting, a benchmark."""

from anomalyr1.data.making.synthetic.drawing import synthesize

__all__ = ["synthesize"]
