"""Products, drawn anew for every image: layout, tone and texture differ, the kind stays.

Every function takes a random generator and the canvas size in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from anomalyr1.data.making.synthetic.board import circuit_board
from anomalyr1.data.making.synthetic.etching import bare_board
from anomalyr1.data.making.synthetic.grinding import magnetic_tile
from anomalyr1.data.making.synthetic.packaging import capsule, printed_label
from anomalyr1.data.making.synthetic.scene import Scene
from anomalyr1.data.making.synthetic.surfaces import brushed_metal, ceramic_tile, woven_fabric

Draw = Callable[[np.random.Generator, int], Scene]

PRODUCTS: Mapping[str, Draw] = {
    "brushed_metal": brushed_metal,
    "woven_fabric": woven_fabric,
    "ceramic_tile": ceramic_tile,
    "circuit_board": circuit_board,
    "capsule": capsule,
    "printed_label": printed_label,
}
"""What a benchmark is drawn of, unless it is asked for others."""
LOOKALIKES: Mapping[str, Draw] = {
    "printed_circuit_board": bare_board,
    "magnetic_tile": magnetic_tile,
}
"""Drawn after the images of public data sets, with the defects that those name."""
