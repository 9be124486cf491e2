"""How a training image is shown this time: a view of it in a light, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageEnhance

from anomalyr1.config import AugmentConfig
from anomalyr1.data.images import turn_image
from anomalyr1.geometry import UNTURNED, WHOLE, Turn, View
from anomalyr1.schema import Box

AS_IS = View()
# Turned by 0, 90, 180 and 270 degrees.
_QUARTERS = (UNTURNED, Turn(True, True, False), Turn(False, True, True), Turn(True, False, True))
# Crops tried until one keeps enough of every box; then the whole image is shown.
_TRIES = 20
_ROUNDING = 1e-9  # of a share that is whole


@dataclass(frozen=True, slots=True)
class Look:
    """A view, and the factors of brightness and contrast."""

    view: View = AS_IS
    brightness: float = 1.0
    contrast: float = 1.0

    def show(
        self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC
    ) -> Image.Image:
        """The image in this look; of a mask, in its view alone, with `resample` nearest."""
        if self.view.part != WHOLE:
            corners = self.view.corners(image.size)
            image = image.resize(image.size, resample, box=corners.xyxy)
        image = turn_image(image, self.view.turn)
        if self.brightness != 1:
            image = ImageEnhance.Brightness(image).enhance(self.brightness)
        if self.contrast != 1:
            image = ImageEnhance.Contrast(image).enhance(self.contrast)
        return image


def draw_look(
    options: AugmentConfig,
    drawn: random.Random,
    size: tuple[int, int],
    boxes: Sequence[Box],
    *,
    turns: bool = True,
    crops: bool = True,
) -> Look:
    """A look, as the section says.

    Args:
        options: the section.
        drawn: where it is drawn from.
        size: (width, height) of the image.
        boxes: what a crop must keep.
        turns: the row may be mirrored, flipped and turned.
        crops: the row may be cropped.
    """
    turn = drawn.choice(_QUARTERS) if options.turn else UNTURNED
    mirrored, upside_down = (drawn.random() < 0.5 for _ in range(2))
    turn = Turn(
        turn.transposed,
        turn.mirrored ^ (options.mirror and mirrored),
        turn.upside_down ^ (options.flip and upside_down),
    )
    brightness = 1 + drawn.uniform(-1, 1) * options.brightness
    contrast = 1 + drawn.uniform(-1, 1) * options.contrast
    view = View(turn=turn if turns else UNTURNED)
    if crops and options.crop < 1:
        view = _cropped(view, options, drawn, size, boxes)
    return Look(view, brightness, contrast)


def _cropped(
    view: View,
    options: AugmentConfig,
    drawn: random.Random,
    size: tuple[int, int],
    boxes: Sequence[Box],
) -> View:
    """The view of a part in which every box is kept; the view itself where none was found."""
    for _ in range(_TRIES):
        side = drawn.uniform(options.crop, 1)
        x, y = drawn.uniform(0, 1 - side), drawn.uniform(0, 1 - side)
        tried = View(Box(x, y, x + side, y + side), view.turn)
        if all(tried.kept(box, size) >= options.keep - _ROUNDING for box in boxes):
            return tried
    return view
