"""The answers that a run got right, or wrong, and another did not: listed, with their place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from anomalyr1.evaluation.figures import Key, question_key
from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.evaluation.report.answers import anchor, short
from anomalyr1.evaluation.report.markup import Markup, join, tag
from anomalyr1.evaluation.report.runs import Run
from anomalyr1.evaluation.right_answers import Changes

_MOST = 50


def change_lists(
    main: Run, other: Run, found: Changes, gallery: Mapping[str, int]
) -> Markup | None:
    """Two lists that unfold: fixed against the other run, and broken; None where nothing changed.

    Args:
        main: the run whose answers are listed.
        other: the run it is held against.
        found: what changed.
        gallery: image -> its place in the gallery, for links.
    """
    before, after = ({question_key(r): r for r in run.readings} for run in (other, main))
    lists = [
        _listed(main.name, f"{name} against {other.name}", keys, before, after, gallery)
        for name, keys in (("fixed", found.fixed), ("broken", found.broken))
        if keys
    ]
    return join(lists) if lists else None


def _listed(
    run: str,
    title: str,
    keys: Sequence[Key],
    before: Mapping[Key, PredictionReading],
    after: Mapping[Key, PredictionReading],
    gallery: Mapping[str, int],
) -> Markup:
    """Those with a place in the gallery first."""
    shown = sorted(keys, key=lambda key: key[0] not in gallery)[:_MOST]
    items = [_item(key, before[key], after[key], gallery) for key in shown]
    told = f"{run}: {len(keys):,} {'answer' if len(keys) == 1 else 'answers'} {title}"
    if len(keys) > len(shown):
        told += f", {len(shown)} of them listed"
    return tag("details", tag("summary", told), tag("ul", *items), class_="changed")


def _item(
    key: Key, before: PredictionReading, after: PredictionReading, gallery: Mapping[str, int]
) -> Markup:
    image, number = key
    name = join(image.split("/"), Markup("/<wbr>"))
    place: Collection[Markup] = [name]
    if image in gallery:
        place = [tag("a", name, href=f"#{anchor(gallery[image], number)}")]
    told = f" · {after.prediction.question_type}: {short(before)} → {short(after)}"
    gold = after.prediction.answer
    return tag("li", *place, told, tag("small", f" gold {gold}") if gold else None)
