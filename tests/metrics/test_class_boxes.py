"""DeepPCB's figures against a twin that walks its rule box by box, and a table by hand."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from anomalyr1.metrics.box_groups import box_groups, image_groups
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.metrics.class_boxes import ClassedBoxes, class_scores, class_strata
from anomalyr1.schema import Box

SQUARE = (0, 0, 10, 10)
THIRD = (0, 0, 10, 3.3)  # IoU 0.33 with SQUARE: not above it


def box(corners: tuple[float, ...], label: str | None) -> Box:
    return Box(*corners, label)


def random_images(seed: int, confident: bool = True) -> list[ClassedBoxes]:
    chance = random.Random(seed)

    def boxes(count: int) -> tuple[Box, ...]:
        corners = [(chance.randrange(12), chance.randrange(12)) for _ in range(count)]
        sides = [(chance.randint(4, 9), chance.randint(4, 9)) for _ in range(count)]
        names = [chance.choice(["open", "short", "spur"]) for _ in range(count)]
        return tuple(
            Box(x, y, x + w, y + h, name)
            for (x, y), (w, h), name in zip(corners, sides, names, strict=True)
        )

    confidences = chance.sample(range(100), 20)  # no two alike: the script's order is then ours
    return [
        ClassedBoxes(boxes(chance.randrange(2)), boxes(chance.randrange(4)), c / 100)
        if confident
        else ClassedBoxes(boxes(chance.randrange(5)), boxes(chance.randrange(5)))
        for c in confidences
    ]


def overlap(a: Box, b: Box) -> float:
    inside = max(0, min(a.x2, b.x2) - max(a.x1, b.x1)) * max(0, min(a.y2, b.y2) - max(a.y1, b.y1))
    area = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1)
    return inside / (area - inside)


def twin(images: list[ClassedBoxes]) -> dict[str, float]:
    """The rule in words: find, count, rank."""
    found, stated, sought = Counter[str](), Counter[str](), Counter[str]()
    ranking: dict[str, list[tuple[float, bool]]] = {}
    for image in images:
        used: set[int] = set()
        for target in image.gold:
            sought[str(target.label)] += 1
            free = (n for n in range(len(image.predicted)) if n not in used)
            fitting = [
                n
                for n in free
                if image.predicted[n].label == target.label
                and overlap(image.predicted[n], target) > 0.33
            ]
            used |= set(fitting[:1])
        for n, stated_box in enumerate(image.predicted):
            stated[str(stated_box.label)] += 1
            found[str(stated_box.label)] += n in used
            entry = (image.confidence or 0.0, n in used)
            ranking.setdefault(str(stated_box.label), []).append(entry)
    precisions = []
    for name in sought:
        hits, area = 0, 0.0
        for rank, (_, hit) in enumerate(sorted(ranking.get(name, []), reverse=True), start=1):
            hits += hit
            area += hit * hits / rank
        precisions.append(100 * area / sought[name])
    p, r = found.total() / stated.total(), found.total() / sought.total()
    f1 = 200 * p * r / (p + r) if p + r else 0.0
    return {"f1": f1, "map": sum(precisions) / len(precisions)}


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_rule_walked_box_by_box(seed: int) -> None:
    ranked = random_images(seed)
    scores, expected = class_scores(ranked), twin(ranked)
    assert scores["f1"] == pytest.approx(expected["f1"])
    assert scores["map"] == pytest.approx(expected["map"])
    unranked = random_images(seed, confident=False)
    scores = class_scores(unranked)
    assert scores["f1"] == pytest.approx(twin(unranked)["f1"]) and scores["map"] is None
    low, high = scores["intervals"]["f1"]
    assert low < scores["f1"] < high


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        ([box(SQUARE, "open")], [box(SQUARE, "open")], [True]),
        ([box(SQUARE, "short")], [box(SQUARE, "open")], [False]),  # the place alone is not enough
        ([box(SQUARE, None)], [box(SQUARE, "open")], [False]),
        ([box(SQUARE, None)], [box(SQUARE, None)], [True]),  # without classes, the place alone
        ([box(THIRD, "open")], [box(SQUARE, "open")], [False]),  # above, not at, the threshold
        ([box(SQUARE, "open")] * 2, [box(SQUARE, "open")], [True, False]),  # said twice
        ([], [box(SQUARE, "open")], []),
        ([box(SQUARE, "open")], [], [False]),
    ],
)
def test_right(predicted: list[Box], gold: list[Box], expected: list[bool]) -> None:
    assert ClassedBoxes(tuple(predicted), tuple(gold)).hits == expected


def test_equal_confidences_enter_together() -> None:
    """Two boxes of 0.5, one of them right, and one right box of 0.9: 1/2 + 1/2 * 2/3."""
    found = box(SQUARE, "open")
    images = [
        ClassedBoxes((found,), (found,), 0.9),
        ClassedBoxes((found,), (found,), 0.5),
        ClassedBoxes((found,), (), 0.5),
    ]
    expected = 100 * (1 / 2 + 1 / 2 * 2 / 3)
    for order in (images, images[::-1]):
        assert class_scores(order)["map"] == pytest.approx(expected)


def test_by_class_and_empty() -> None:
    scores = class_scores(
        [
            ClassedBoxes((box(SQUARE, "open"),), (box(SQUARE, "open"), box(SQUARE, "spur"))),
            ClassedBoxes((box(SQUARE, "stain"),), ()),  # of no gold class: a false alarm
        ]
    )
    assert (scores["precision"], scores["recall"], scores["f1"]) == (50.0, 50.0, 50.0)
    assert scores["classes"]["spur"]["recall"] == 0.0 and set(scores["classes"]) == {"open", "spur"}
    nothing = class_scores([])
    assert nothing["f1"] is None and nothing["map"] is None and nothing["classes"] == {}


@pytest.mark.parametrize("seed", range(3))
def test_strata_are_counted_from_the_same_pairs(seed: int) -> None:
    """By class they are the classes' figures, by product those of its images alone."""
    images = random_images(seed, confident=False)
    images += [ClassedBoxes(image.gold[:2], image.gold) for image in images[:15]]
    gold = [box.label for image in images for box in image.gold]
    said = [box.label for image in images for box in image.predicted]
    whole = class_scores(images)["classes"]
    found = class_strata(images, box_groups(["open", "short", "spur"], gold, said))
    for name, cells in found.items():
        assert cells == {key: whole[name][key] for key in cells} and cells["f1"] > 0
    recalled = class_strata(images, box_groups(["open"], gold, None))["open"]
    assert recalled["recall"] == found["open"]["recall"]
    assert recalled["f1"] is recalled["precision"] is recalled["predicted"] is None
    names = ["ab"[place % 3 == 0] for place in range(len(images))]
    boxes = [ImageBoxes(image.predicted, image.gold) for image in images]
    for name, cells in class_strata(images, image_groups(boxes, names)).items():
        part = class_scores([one for one, own in zip(images, names, strict=True) if own == name])
        assert cells == {key: part[key] for key in cells}
