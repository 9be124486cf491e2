"""The gallery: images with gold and predicted boxes and masks, and what the policy said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from anomalyr1.data.rle import decode_mask
from anomalyr1.evaluation.figures import Key, question_key
from anomalyr1.evaluation.image_readings import ImageReading, PredictionReading, image_readings
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.report.answers import anchor, answer_block
from anomalyr1.evaluation.report.facets import (
    Card,
    Facets,
    attributes,
    filters,
    image_facets,
    question_facets,
)
from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.runs import Run
from anomalyr1.evaluation.report.thumbnails import mask_layer, photograph
from anomalyr1.evaluation.right_answers import Changes, is_right
from anomalyr1.schema import Box, category_of, dataset_of, defect_of

_LAYERS = (
    ("gold-box", "gold boxes"),
    ("predicted-box", "predicted boxes"),
    ("gold-mask", "gold mask"),
    ("predicted-mask", "predicted mask"),
)
_GOLD, _PREDICTED = (0, 150, 120, 255), (240, 120, 20, 120)
_REFERENCE_SIDE = 160


@dataclass(frozen=True)
class Gallery:
    """What a gallery shows, chosen before it is drawn so that lists can lead to it.

    Attributes:
        questions: image -> its questions; of the images shown.
        changed: question -> "fixed" or "broken" since the first run compared with.
        of: images and questions that the run has in all.
    """

    questions: Mapping[str, Sequence[PredictionReading]]
    changed: Mapping[Key, str]
    of: tuple[int, int]

    @property
    def places(self) -> dict[str, int]:
        """The place of each image."""
        return {image: place for place, image in enumerate(self.questions)}


def choose_gallery(run: Run, found: Changes | None, most: int) -> Gallery:
    """Choose at most `most` images of `run`.

    They are taken in turn from every kind of result, and within it from every category and defect,
    so that the rare ones are seen.

    Args:
        run: the run shown.
        found: what changed since the first run compared with.
        most: the cap.
    """
    groups: dict[str, list[PredictionReading]] = {}
    for reading in run.readings:
        groups.setdefault(reading.prediction.image, []).append(reading)
    changed = dict.fromkeys(found.fixed, "fixed") if found else {}
    changed |= dict.fromkeys(found.broken, "broken") if found else {}
    kinds: dict[tuple[str, ...], dict[tuple[str, str], list[str]]] = {}
    for image, readings in groups.items():
        of_image = {changed[key] for r in readings if (key := question_key(r)) in changed}
        kind = (dataset_of(image), *_tags(readings), *sorted(of_image))
        within = kinds.setdefault(kind, {})
        within.setdefault((category_of(image), defect_of(image)), []).append(image)
    chosen = _in_turn([_in_turn([*within.values()]) for within in kinds.values()])[:most]
    questions = {image: groups[image] for image in chosen}
    return Gallery(questions, changed, (len(groups), len(run.readings)))


def image_gallery(run: Run, others: Sequence[Run], gallery: Gallery) -> Markup | None:
    """Cards of the images chosen, with filters; None where there is nothing to show.

    Args:
        run: the run shown.
        others: runs whose answers to the same questions are shown in one line each; the first is
            the one that changes are told against.
        gallery: what is shown.
    """
    if not gallery.questions:
        return None
    located = {reading.image: reading for reading in image_readings(run.readings)}
    said = [
        (other.name, {question_key(reading): reading for reading in other.readings})
        for other in others
    ]
    facets: list[tuple[Facets, list[Facets]]] = []
    cards = []
    for place, (image, readings) in enumerate(gallery.questions.items()):
        of_questions = [
            question_facets(reading, gallery.changed.get(question_key(reading)))
            for reading in readings
        ]
        facets.append((image_facets(readings[0]), of_questions))
        cards.append(_card(run, place, readings, facets[-1], located.get(image), said))
    return join(
        [
            _controls(facets, others[0].name if others else None, run.segmenter),
            _counted(gallery),
            tag("div", *cards, class_="cards", id="gallery"),
        ]
    )


def _tags(readings: Sequence[PredictionReading]) -> tuple[str, ...]:
    outcomes = {evaluated_outcome(reading) for reading in readings}
    tags = ["normal" if readings[0].prediction.is_normal else "anomalous"]
    if any(is_right(reading) is False for reading in readings):
        tags.append("wrong")
    tags += [name for name in ("contradictory", "malformed") if name in outcomes]
    return tuple(tags)


def _in_turn(groups: Sequence[Sequence[str]]) -> list[str]:
    """One of each group after the other, in order within a group.

    >>> _in_turn([["a", "b", "c"], ["d"], ["e", "f"]])
    ['a', 'd', 'e', 'b', 'f', 'c']
    """
    return [one for turn in zip_longest(*groups) for one in turn if one is not None]


def _controls(cards: Sequence[Card], other: str | None, segmenter: str | None) -> Markup:
    """Shown by the script, without which they would do nothing."""
    layers = [
        tag(
            "label",
            tag("input", type="checkbox", data_layer=name, checked=True),
            tag("i", class_=f"key {name}"),
            f"{label} ({segmenter})" if name == "predicted-mask" and segmenter else label,
        )
        for name, label in _LAYERS
        if segmenter or not name.endswith("mask")
    ]
    return tag(
        "div",
        filters(cards, other),
        tag("div", *layers, class_="layers"),
        class_="controls",
        hidden=True,
    )


def _counted(gallery: Gallery) -> Markup:
    """How much is shown, which the script keeps up with the filters."""
    images, questions = len(gallery.questions), sum(map(len, gallery.questions.values()))
    whole = f"the run has {gallery.of[0]:,} images and {gallery.of[1]:,} questions"
    return tag(
        "p",
        tag(
            "output",
            tag("b", f"{images:,}", data_count="images"),
            f" of {images:,} images and ",
            tag("b", f"{questions:,}", data_count="questions"),
            f" of {questions:,} questions shown",
            tag("span", data_chosen=True),
            aria_atomic="true",
        ),
        f"; {whole}" if gallery.of[0] > images else None,
        class_="note",
    )


def _card(
    run: Run,
    place: int,
    readings: Sequence[PredictionReading],
    facets: Card,
    located: ImageReading | None,
    said: Sequence[tuple[str, Mapping[Key, PredictionReading]]],
) -> Markup:
    image = readings[0].prediction.image
    of_image, of_questions = facets
    right = [is_right(reading) for reading in readings]
    scored = [value for value in right if value is not None]
    first_wrong = right.index(False) if False in right else 0
    blocks = [
        answer_block(
            reading,
            [(name, of[key]) for name, of in said if (key := question_key(reading)) in of],
            is_open=index == first_wrong,
            id=anchor(place, reading.prediction.question_index),
            **attributes(of_questions[index]),
        )
        for index, reading in enumerate(readings)
    ]
    tags = [name for name in _tags(readings) if name != "wrong"]
    badges = [tag("span", name, class_=f"badge {name}") for name in tags]
    if scored:
        complete = "right" if all(scored) else "wrong"
        badges.append(tag("span", f"{sum(scored)}/{len(scored)} right", class_=f"badge {complete}"))
    return tag(
        "article",
        tag("div", *_view(run, image, located), _references(run, readings), class_="pictures"),
        tag(
            "div",
            tag("h3", join(image.split("/"), Markup("/<wbr>"))),
            tag("p", *badges, class_="badges"),
            *blocks,
            class_="facts",
        ),
        class_="card",
        **attributes(of_image),
    )


def _view(run: Run, image: str, located: ImageReading | None) -> list[Markup]:
    source = photograph(run.root, image) if run.root is not None else None
    if source is None:
        return [tag("div", tag("p", "image not found; give --root"), class_="view missing")]
    layers: list[Markup] = []
    row = run.masks.get(image)
    if row is not None:
        layers += _mask_layers(row)
    if located is not None and located.size is not None:
        layers.append(_box_layer(located, located.size))
    view = tag("div", tag("img", src=source, alt=image, class_="photo"), *layers, class_="view")
    larger = tag("button", "larger", type="button", data_zoom=True, aria_pressed="false")
    return [view, larger]


def _mask_layers(row: Mapping[str, Any]) -> list[Markup]:
    layers = []
    predicted, target = row["masks"]["predicted"], row["target"]
    if predicted is not None:
        source = mask_layer(decode_mask(predicted), _PREDICTED)
        layers.append(tag("img", src=source, alt="", class_="layer predicted-mask"))
    if target is not None and row["target_from"] == "mask":
        source = mask_layer(decode_mask(target), _GOLD, outline=True)
        layers.append(tag("img", src=source, alt="", class_="layer gold-mask"))
    return layers


def _box_layer(located: ImageReading, size: tuple[int, int]) -> Markup:
    width, height = size
    gold, predicted = located.gold_in_image or (), located.boxes_in_image or ()
    shapes = [_rectangle(box, "gold-box", "gold") for box in gold]
    shapes += [_rectangle(box, "predicted-box", "predicted") for box in predicted]
    return tag(
        "svg", *shapes, viewBox=f"0 0 {width} {height}", preserveAspectRatio="none", class_="layer"
    )


def _rectangle(box: Box, class_: str, whose: str) -> Markup:
    corners = ", ".join(f"{value:.0f}" for value in box.xyxy)
    return tag(
        "rect",
        tag("title", f"{whose}: {f'{box.label} ' if box.label else ''}[{corners}]"),
        x=f"{box.x1:.1f}",
        y=f"{box.y1:.1f}",
        width=f"{max(0.0, box.x2 - box.x1):.1f}",
        height=f"{max(0.0, box.y2 - box.y1):.1f}",
        class_=class_,
    )


def _references(run: Run, readings: Sequence[PredictionReading]) -> Markup | None:
    keys = dict.fromkeys(key for r in readings for key in r.prediction.references)
    if run.root is None or not keys:
        return None
    pictures = []
    for key in keys:
        source = photograph(run.root, key, _REFERENCE_SIDE)
        if source is not None:
            pictures.append(tag("img", src=source, alt=f"reference {key}", title=key))
    if not pictures:
        return None
    return tag("figure", *pictures, tag("figcaption", "reference"), class_="references")
