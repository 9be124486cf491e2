"""The gallery: images with gold and predicted boxes and masks, and what the policy said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.data.rle import decode_mask
from anomalyr1.evaluation.image_readings import ImageReading, PredictionReading, image_readings
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.report.answers import answer_block, is_right
from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.runs import Run
from anomalyr1.evaluation.report.thumbnails import mask_layer, photograph
from anomalyr1.schema import Box, dataset_of

FILTERS = ("all", "wrong", "contradictory", "malformed", "anomalous", "normal")
_LAYERS = (
    ("gold-box", "gold boxes"),
    ("predicted-box", "predicted boxes"),
    ("gold-mask", "gold mask"),
    ("predicted-mask", "predicted mask"),
)
_GOLD, _PREDICTED = (0, 150, 120, 255), (240, 120, 20, 120)
_REFERENCE_SIDE = 160


def image_gallery(run: Run, others: Sequence[Run], most: int) -> Markup | None:
    """Cards of at most `most` images of `run`, with filters; None where there is nothing to show.

    Args:
        run: the run shown.
        others: runs whose answers to the same questions are shown in one line each.
        most: the cap; images are taken in turn from every kind of result, so that the rare ones
            are seen.
    """
    groups: dict[str, list[PredictionReading]] = {}
    for reading in run.readings:
        groups.setdefault(reading.prediction.image, []).append(reading)
    if not groups or most == 0:
        return None
    tags = {image: _tags(readings) for image, readings in groups.items()}
    chosen = _in_turn(tags, most)
    located = {reading.image: reading for reading in image_readings(run.readings)}
    said = [
        (other.name, {_key(reading): reading for reading in other.readings}) for other in others
    ]
    cards = [_card(run, groups[image], tags[image], located.get(image), said) for image in chosen]
    return join(
        [
            _controls([tags[image] for image in chosen], len(groups), run.segmenter),
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


def _in_turn(tags: Mapping[str, tuple[str, ...]], most: int) -> list[str]:
    """One image of each kind (dataset and tags) after the other, in file order within a kind."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for image, of_image in tags.items():
        kinds.setdefault((dataset_of(image), *of_image), []).append(image)
    chosen: list[str] = []
    depth = 0
    while len(chosen) < min(most, len(tags)):
        chosen += [images[depth] for images in kinds.values() if depth < len(images)]
        depth += 1
    return chosen[:most]


def _controls(tags: Sequence[tuple[str, ...]], images: int, segmenter: str | None) -> Markup:
    buttons = []
    for name in FILTERS:
        count = len(tags) if name == "all" else sum(name in of_image for of_image in tags)
        buttons.append(
            tag(
                "button",
                name,
                " ",
                tag("small", str(count)),
                type="button",
                data_filter=name,
                aria_pressed="true" if name == "all" else "false",
                disabled=count == 0,
            )
        )
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
        tag("div", *buttons, class_="filters", role="group", aria_label="Filter images"),
        tag("div", *layers, class_="layers"),
        tag("p", f"{len(tags)} of {images} images", class_="note"),
        class_="controls",
    )


def _card(
    run: Run,
    readings: Sequence[PredictionReading],
    tags: Sequence[str],
    located: ImageReading | None,
    said: Sequence[tuple[str, Mapping[tuple[str, int], PredictionReading]]],
) -> Markup:
    image = readings[0].prediction.image
    right = [is_right(reading) for reading in readings]
    scored = [value for value in right if value is not None]
    first_wrong = right.index(False) if False in right else 0
    blocks = [
        answer_block(
            reading,
            [(name, of_run[_key(reading)]) for name, of_run in said if _key(reading) in of_run],
            is_open=index == first_wrong,
        )
        for index, reading in enumerate(readings)
    ]
    badges = [tag("span", name, class_=f"badge {name}") for name in tags if name != "wrong"]
    if scored:
        complete = "right" if all(scored) else "wrong"
        badges.append(tag("span", f"{sum(scored)}/{len(scored)} right", class_=f"badge {complete}"))
    return tag(
        "article",
        tag("div", _view(run, image, located), _references(run, readings), class_="pictures"),
        tag(
            "div",
            tag("h3", join(image.split("/"), Markup("/<wbr>"))),
            tag("p", *badges, class_="badges"),
            *blocks,
            class_="facts",
        ),
        class_="card",
        data_tags=" ".join(tags),
    )


def _view(run: Run, image: str, located: ImageReading | None) -> Markup:
    source = photograph(run.root, image) if run.root is not None else None
    if source is None:
        return tag("div", tag("p", "image not found; give --root"), class_="view missing")
    layers: list[Markup] = []
    row = run.masks.get(image)
    if row is not None:
        layers += _mask_layers(row)
    if located is not None and located.size is not None:
        layers.append(_box_layer(located, located.size))
    return tag(
        "div",
        tag("img", src=source, alt=image, class_="photo"),
        *layers,
        class_="view",
        data_zoom=True,
    )


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


def _key(reading: PredictionReading) -> tuple[str, int]:
    return reading.prediction.image, reading.prediction.question_index
