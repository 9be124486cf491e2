"""What an inspection found, as a record that can be drawn, read by programs, and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.rle import encode_mask
from anomalyr1.schema import Box, Question
from anomalyr1.segmentation.overlay import draw_overlay, png_bytes
from anomalyr1.storage import write_bytes, write_json

Verdict = Literal["normal", "anomalous"]
DecidedBy = Literal["threshold", "answer", "likelihood"]


def weighed_probability(row: Mapping[str, Any]) -> float | None:
    """P(anomalous) as the verdict weighs it, out of what `Inspection.as_dict` gives.

    >>> row = {"probability": 0.01, "probability_at_once": 0.6, "settings": {"weigh": "at_once"}}
    >>> weighed_probability(row)
    0.6
    """
    at_once = row["settings"]["weigh"] == "at_once"
    found: float | None = row["probability_at_once" if at_once else "probability"]
    return found


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the policy says of one image.

    Attributes:
        image: RGB, upright; boxes and mask are in its pixels.
        name: of the image, as it was given; None for one without a name.
        question: what was asked; its options say what the letters mean.
        verdict: normal or anomalous; None where the question asks for neither.
        probability: P(anomalous) after the policy's own reasoning, from the likelihood of the
            letters; None as above.
        probability_at_once: the same of an answer without reasoning.
        threshold: that the one or the other (`settings["weigh"]`) was held against, or None.
        decided_by: what the verdict follows: the threshold, else the letter that was written, else
            (it could not be read) the likelier one.
        answer: the letter that was written; None where it cannot be read.
        letters: each option's probability among the options, after the reasoning.
        boxes: stated by the policy; None where none were asked for or they cannot be read.
        mask: (height, width) that the segmenter made of the boxes; None without boxes or segmenter.
        defect_type: chosen from those given; None where not asked or found normal.
        defect_types: the probability of each.
        description: chosen from those given, likewise.
        descriptions: the probability of each.
        reasoning: what the policy wrote before its answer; None where it wrote none.
        completion: all that it wrote.
        well_formed: whether it kept to the form it was asked for.
        settings: every setting that can change a number (`inspection_settings`).
        seconds: it took; of a batch its share.
    """

    image: Image.Image = field(repr=False)
    name: str | None
    question: Question
    verdict: Verdict | None
    probability: float | None
    probability_at_once: float | None
    threshold: float | None
    decided_by: DecidedBy | None
    answer: str | None
    letters: Mapping[str, float]
    boxes: tuple[Box, ...] | None
    mask: NDArray[np.bool_] | None = field(repr=False)
    defect_type: str | None = None
    defect_types: Mapping[str, float] | None = None
    description: str | None = None
    descriptions: Mapping[str, float] | None = None
    reasoning: str | None
    completion: str = field(repr=False)
    well_formed: bool
    settings: Mapping[str, Any] = field(repr=False)
    seconds: float

    @property
    def mask_rle(self) -> dict[str, Any] | None:
        """The mask as a COCO run-length code."""
        return None if self.mask is None else encode_mask(self.mask)

    def overlay(self, opacity: float = 0.45) -> Image.Image:
        """The image with mask and boxes drawn on it."""
        return draw_overlay(self.image, self.boxes or (), self.mask, opacity)

    def as_dict(self) -> dict[str, Any]:
        """All but the pixels, in types that JSON has."""
        boxes = None
        if self.boxes is not None:
            boxes = [{"box": [float(v) for v in b.xyxy], "label": b.label} for b in self.boxes]
        return {
            "image": self.name,
            "size": list(self.image.size),
            "verdict": self.verdict,
            "probability": self.probability,
            "probability_at_once": self.probability_at_once,
            "threshold": self.threshold,
            "decided_by": self.decided_by,
            "question": self.question.text,
            "options": dict(self.question.options),
            "answer": self.answer,
            "letters": dict(self.letters),
            "boxes": boxes,
            "mask": self.mask_rle,
            "defect_type": self.defect_type,
            "defect_types": None if self.defect_types is None else dict(self.defect_types),
            "description": self.description,
            "descriptions": None if self.descriptions is None else dict(self.descriptions),
            "reasoning": self.reasoning,
            "completion": self.completion,
            "well_formed": self.well_formed,
            "seconds": round(self.seconds, 3),
            "settings": dict(self.settings),
        }

    def to_json(self) -> str:
        """`as_dict` in one line of JSON."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)

    def save(self, folder: Path | str, name: str | None = None) -> list[Path]:
        """Write NAME.json, NAME.overlay.png and, where there is one, NAME.mask.png.

        Args:
            folder: made when it does not exist.
            name: by default that of the image's file without its suffix, else `image`.

        Returns:
            The files.

        Raises:
            InputError: the folder cannot be written.
        """
        folder = Path(folder)
        name = name or (Path(self.name).stem if self.name else "image")
        files = [folder / f"{name}.json", folder / f"{name}.overlay.png"]
        write_json(files[0], self.as_dict())
        write_bytes(files[1], png_bytes(self.overlay()))
        if self.mask is not None:
            files.append(folder / f"{name}.mask.png")
            write_bytes(files[2], png_bytes(Image.fromarray(self.mask.astype(np.uint8) * 255)))
        return files
