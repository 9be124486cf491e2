"""Six products, drawn anew for every image: layout, tone and texture differ, the kind stays.

Every function takes a random generator and the canvas size in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from anomalyr1.data.making.synthetic.board import circuit_board
from anomalyr1.data.making.synthetic.packaging import capsule, printed_label
from anomalyr1.data.making.synthetic.scene import Scene
from anomalyr1.data.making.synthetic.surfaces import brushed_metal, ceramic_tile, woven_fabric

PRODUCTS: Mapping[str, Callable[[np.random.Generator, int], Scene]] = {
    "brushed_metal": brushed_metal,
    "woven_fabric": woven_fabric,
    "ceramic_tile": ceramic_tile,
    "circuit_board": circuit_board,
    "capsule": capsule,
    "printed_label": printed_label,
}
