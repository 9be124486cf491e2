"""What is done to training images when they are shown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anomalyr1.config.section import Flag, Number, Share, section

Swing = Annotated[Number, Field(ge=0, lt=1)]


@section
class AugmentConfig:
    """How training images are varied: drawn anew for each row in each epoch, the same in each run.

    All images of a row are treated alike, references too, as if the camera had been moved: a
    template stays in register with its board, and a product keeps its pose beside the reference.

    Attributes:
        mirror: mirror left-right, every other time. Not for products whose print or handedness is
            inspected.
        flip: mirror upside down, every other time.
        turn: turn by 0, 90, 180 or 270 degrees.
        crop: the smallest share of each side that is shown, enlarged to the image's size; 1 shows
            the whole image.
        keep: the smallest share of each gold box that a crop must show.
        brightness: factor of the brightness, from 1 - this to 1 + this.
        contrast: factor of the contrast, likewise.
    """

    mirror: Flag = False
    flip: Flag = False
    turn: Flag = False
    crop: Share = 1.0
    keep: Share = 0.9
    brightness: Swing = 0.0
    contrast: Swing = 0.0

    @property
    def changes(self) -> bool:
        """False where every image is shown as it is."""
        lights = self.brightness or self.contrast
        return bool(self.mirror or self.flip or self.turn or self.crop < 1 or lights)
