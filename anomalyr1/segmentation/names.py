"""The segmenters there are, and the weights that each takes where none are named."""

from __future__ import annotations

# From the plainest to the best: of several, a report shows the last.
SEGMENTERS = ("box", "grabcut", "sam2", "sam2-transformers", "sam3-transformers")

PUBLISHED = {
    "sam2": "facebook/sam2.1-hiera-tiny",
    "sam2-transformers": "facebook/sam2.1-hiera-tiny",
    "sam3-transformers": "facebook/sam3",
}
