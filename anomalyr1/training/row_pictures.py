"""The pictures of training rows, decoded as all other verbs decode them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from datasets import Image
from datasets.features.features import register_feature
from PIL import Image as Pictures

from anomalyr1.data.image_sources import read_image


@dataclass
class RowPicture(Image):  # type: ignore[misc]
    """A column's kind: the path of a picture, decoded on access by `read_image`.

    `datasets` itself leaves levels beyond 8 bits to Pillow, which clips grey ones to white, keeps
    the upper 8 bits of colours and makes fractions black.
    """

    # By this name a table's own description of its columns finds the class again.
    _type: str = field(default="RowPicture", init=False, repr=False)

    def decode_example(self, value: Any, token_per_repo_id: Any = None) -> Pictures.Image:
        """The picture upright, in RGB of 8 bits a channel.

        Raises:
            InputError: the file is missing or is not a readable image.
        """
        if isinstance(value, Pictures.Image):  # decoded before, which `datasets` allows
            return value
        return read_image(value["path"] if value["bytes"] is None else value["bytes"])


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that this function may change
    register_feature(RowPicture, "RowPicture")
