"""DeepPCB's figures of a set of images: the class of each box, as far as one is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from anomalyr1.data.annotation_files import UNNAMED
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.metrics.class_boxes import ClassedBoxes, class_scores
from anomalyr1.schema import Box
from anomalyr1.values import in_words

# Where the classes of predicted boxes are from: their labels, or the answer to the image's question
# of the type of the defect; None where classes play no part.
ClassesFrom = Literal["labels", "answers"] | None


def class_name(label: str | None) -> str | None:
    """A label as it is compared: its letters and digits; None of one that names no kind of defect.

    >>> class_name("Pin-hole."), class_name("pin hole"), class_name("defect")
    ('pinhole', 'pinhole', None)
    """
    name = "".join(sign for sign in (label or "").casefold() if sign.isalnum())
    return None if name in ("", UNNAMED) else name


def class_figures(
    images: Sequence[ImageReading],
    chosen: Mapping[str, str],
    scores: Mapping[str, float],
    resamples: int,
) -> dict[str, Any]:
    """`class_scores`, classes in the words of gold boxes, and `classes_from`: where they are from.

    Classes count where every gold box has one and the policy says some. A box whose label says
    nothing has the class that the answer about its image names. Elsewhere the figures are of the
    place alone.

    Args:
        images: with known gold boxes.
        chosen: image -> the type of defect that its answer names.
        scores: image -> P(anomalous), the confidence of its boxes.
        resamples: bootstrap resamples.
    """
    source = classes_from(images, chosen)

    def classed(boxes: Sequence[Box], otherwise: str | None) -> tuple[Box, ...]:
        return tuple(
            Box(*box.xyxy, (class_name(box.label) or otherwise) if source else None)
            for box in boxes
        )

    found = [
        ClassedBoxes(
            classed(image.boxes.predicted, class_name(chosen.get(image.image))),
            classed(image.boxes.gold, None),
            scores.get(image.image),
        )
        for image in images
    ]
    scored = class_scores(found, resamples)
    spelt = {
        class_name(box.label): in_words(box.label or "")
        for image in images
        for box in image.boxes.gold
    }
    classes = {spelt.get(name) or name: figures for name, figures in scored["classes"].items()}
    return {"classes_from": source, **scored, "classes": classes}


def classes_from(images: Sequence[ImageReading], chosen: Mapping[str, str]) -> ClassesFrom:
    """Where the classes of the boxes of these images are from."""
    gold = [class_name(box.label) for image in images for box in image.boxes.gold]
    if not gold or None in gold:
        return None
    boxed = [image for image in images if image.boxes_in_image]
    if any(class_name(box.label) for image in boxed for box in image.boxes_in_image or ()):
        return "labels"
    return "answers" if any(class_name(chosen.get(image.image)) for image in boxed) else None
