"""report.html: one self-contained page a run, or several runs compared.

Pictures are data URIs, charts are inline SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anomalyr1 import run_folder
from anomalyr1.evaluation.consistency import told_left_out
from anomalyr1.evaluation.report.agreement_tables import agreement_tables
from anomalyr1.evaluation.report.beside_table import beside_table, box_beside_table
from anomalyr1.evaluation.report.comparison import comparison
from anomalyr1.evaluation.report.consistency_table import (
    CONSISTENCY_NOTE,
    consistency_table,
)
from anomalyr1.evaluation.report.curves import Training, training_charts
from anomalyr1.evaluation.report.gallery import choose_gallery, image_gallery
from anomalyr1.evaluation.report.headline import headline
from anomalyr1.evaluation.report.intervals import outcome_bars
from anomalyr1.evaluation.report.markup import Child, Markup, asset, document, join, tag
from anomalyr1.evaluation.report.origin import origin
from anomalyr1.evaluation.report.robustmad_table import robustmad_table
from anomalyr1.evaluation.report.runs import Run, load_runs
from anomalyr1.evaluation.report.score_charts import score_charts
from anomalyr1.evaluation.report.strata_tables import (
    box_strata_tables,
    class_table,
    classes_note,
    mask_strata_tables,
    stability_tables,
)
from anomalyr1.evaluation.report.tables import (
    SMALL_PRINT,
    accuracy_table,
    box_table,
    detection_table,
    likelihood_tables,
    mask_table,
)
from anomalyr1.evaluation.right_answers import changes
from anomalyr1.storage import write_text

GALLERY = 60
_WARNING = "note warning"  # CSS classes

_NOTES = {
    "strict": (
        "Strict: every question counts and an unreadable answer is wrong. Anomaly Detection is "
        "balanced over normal and anomalous images. The row Average weighs datasets equally. "
        "Overkill is the share of normal images called defective, Miss the share of defective ones "
        f"called normal. {SMALL_PRINT}"
    ),
    "compat": (
        "Compat: the benchmark's own accounting of the same letters, to compare with published "
        "tables. An unreadable answer and the question after it leave the count, so refusing hard "
        "questions raises this number."
    ),
    "boxes": (
        "A pair counts where its IoU reaches the threshold in the best one-to-one matching. Boxes "
        "have no scores of their own: COCO's AP needs P(anomalous) of each image, equal ones enter "
        "together. Pointing: the centre of the first box lies in a gold box. Area IoU: of what all "
        "boxes of an image cover together, over the images with a defect, and the share of these "
        "that reach a threshold (MMAD-BBox)."
    ),
    "robustmad": (
        "RobustMAD's categories: right answers by all questions, an unreadable one being wrong. "
        "None of them is a column of MMAD's table."
    ),
    "classes": (
        "DeepPCB's measure: a box is right where its IoU with a gold box of the same class is "
        "above 0.33, each gold box once. A mean average precision needs P(anomalous) of each "
        "image, which is the confidence of its boxes."
    ),
    "strata": (
        "A defect is small below 1/300 of the image's area and large from 3/100 on (COCO's limits "
        "in a photo of 640 x 480). IoU is the mean over gold boxes, 0 where none is matched. A box "
        "that marks nothing is of no defect, so that a defect has no F1 and no AP; DeepPCB's F has "
        "it where boxes name their class. AR, AP and DeepPCB's F have no interval here."
    ),
    "stability": (
        "Predicted boxes are moved and resized by up to a share of their sides before the "
        "segmenter, several times an image. Changes are in points, after less before. Kept: the "
        "IoU with what there was before the move, whatever is right. An image is of every size and "
        "every defect that one of its gold boxes has; parts have no intervals."
    ),
    "likelihood": (
        "P(anomalous) is the share of the letters that mean a defect in the likelihood of those "
        "that mean a verdict, where the policy answers: after its own reasoning, or at once. ECE "
        "is the mean distance of 15 bins of it from the diagonal. The threshold for an overkill of "
        "at most 5 % was chosen on these same images: choose one to work with on others, by "
        "anomalyr1 calibrate. The likeliest letter is held against gold as the written one is."
    ),
    "agreement": (
        "Of the images where both say something: a box touches the cell (of nine) that was "
        "answered, or that most of the mask is in; most of the mask is in the cell that was "
        "answered. Whether that is the right place is not asked here. In parts, an image is of "
        "every size and every defect that one of its gold boxes has."
    ),
    "masks": (
        "IoU and Dice are means over anomalous images, an empty mask being 0. PRO and pixel FPR "
        "belong together: they are one operating point. Masks from gold boxes are the most the "
        "segmenter can reach; the whole image as one box is what no skill reaches."
    ),
}


def write_report(
    runs: Sequence[Path],
    out: Path | None = None,
    *,
    gallery: int = GALLERY,
    root: Path | None = None,
) -> Path:
    """Write the report of one or several runs.

    Args:
        runs: run folders; the first is the one reported. The first with an evaluation is compared
            with the other ones, and with a folder's own `before/` predictions.
        out: the HTML file; `report.html` in the first run by default.
        gallery: most images in the gallery.
        root: data root of the images, where the runs' provenance does not tell it.

    Returns:
        The file.

    Raises:
        InputError: a folder holds nothing to report, or one of its files is broken.
    """
    path = out or runs[0] / run_folder.REPORT
    write_text(path, render(load_runs(runs, root), gallery))
    return path


def render(runs: Sequence[Run], most: int = GALLERY) -> str:
    """The page as text."""
    main = runs[0]
    evaluated = [run for run in runs if run.metrics is not None]
    others = evaluated[1:]
    found = [changes(other.readings, evaluated[0].readings) for other in others]
    gallery = choose_gallery(main, found[0] if found else None, most)
    sections = [
        _section("accuracy", "Accuracy", [*_accuracy(main), *_robustmad(main)]),
        _section("comparison", "Comparison", [comparison(evaluated, found, gallery.places)]),
        _section("consistency", "The same question again", _consistency(main)),
        _section("outcomes", "Reasoning against answer", [outcome_bars(_outcomes(runs))]),
        _section("localization", "Detection and localization", _localization(main)),
        _section("training", "Training", _training(runs)),
        _section("gallery-section", "Gallery", [image_gallery(main, others, gallery)]),
        _section("origin", "Where the numbers come from", [origin(run) for run in runs]),
    ]
    shown = [section for section in sections if section is not None]
    links = [tag("a", title, href=f"#{name}") for name, title, _ in shown]
    body = [
        headline(main, others),
        tag("nav", *links),
        tag("main", *(content for _, _, content in shown)),
    ]
    style = asset("charts.css") + asset("report.css")
    return document(f"{main.name} · AnomalyR1 report", body, style, asset("report.js"))


def _section(
    name: str, title: str, content: Sequence[Markup | None]
) -> tuple[str, str, Markup] | None:
    there = [part for part in content if part]
    if not there:
        return None
    return name, title, tag("section", tag("h2", title), *there, id=name)


def _accuracy(run: Run) -> list[Markup | None]:
    if run.metrics is None or not run.metrics["mmad"]["strict"]:
        return []
    return [
        tag(
            "div",
            tag("input", type="radio", name="accounting", id="show-strict", checked=True),
            tag("label", "strict", for_="show-strict"),
            tag("input", type="radio", name="accounting", id="show-compat"),
            tag("label", "compat (MMAD)", for_="show-compat"),
            *(
                tag(
                    "div",
                    accuracy_table(run.metrics, name),
                    _note(name),
                    beside_table(run.name, run.metrics, name),
                    class_=f"pane {name}",
                )
                for name in ("strict", "compat")
            ),
            class_="tabs",
        )
    ]


def _consistency(run: Run) -> list[Markup | None]:
    table = None if run.metrics is None else consistency_table(run.metrics)
    if run.metrics is None or table is None:
        return []
    text = " ".join([CONSISTENCY_NOTE, *told_left_out(run.metrics["consistency"])])
    return [table, tag("p", text, class_="note")]


def _robustmad(run: Run) -> list[Markup | None]:
    found = (run.metrics or {}).get("robustmad")
    return [robustmad_table(found), _note("robustmad")] if found else []


def _localization(run: Run) -> list[Markup | None]:
    if run.metrics is None:
        return []
    located = run.metrics.get("localization", {})
    parts: list[tuple[str, Markup | None, Child]] = [
        ("Normal or anomalous", detection_table(run.metrics), None),
        ("Boxes", box_table(located), _note("boxes")),
        ("Published boxes", box_beside_table(run.name, run.metrics), None),
        (
            "Boxes that name the defect",
            class_table(located),
            _note("classes", classes_note(located)),
        ),
        ("Where boxes are good", _joined(box_strata_tables(located)), _note("strata")),
        ("Masks", mask_table(located), join([_note("masks"), _targets(run)])),
        ("Where masks are good", _joined(mask_strata_tables(located)), None),
        ("Boxes moved a little", _joined(stability_tables(located)), _note("stability")),
        ("Answer, boxes and mask", _joined(agreement_tables(located)), _note("agreement")),
    ]
    weighed = likelihood_tables(run.metrics)
    if weighed:
        charts = score_charts(run.metrics["likelihood"]["scores"])
        parts.insert(1, ("By likelihood", join([*weighed, charts]), _note("likelihood")))
    return [
        join([tag("h3", title), table, note]) for title, table, note in parts if table is not None
    ]


def _joined(tables: Sequence[Markup]) -> Markup | None:
    """Tables one below the other; None without any."""
    return join(tables) if tables else None


def _targets(run: Run) -> Markup | None:
    """Says so where masks were compared with filled gold boxes instead of gold masks."""
    assert run.metrics is not None
    masks = run.metrics.get("localization", {}).get("masks", {})
    filled = max((of["targets"]["boxes"] for of in masks.values()), default=0)
    none = max((of["targets"]["none"] for of in masks.values()), default=0)
    parts = []
    if filled:
        parts.append(
            f"{filled} defects have no gold mask: their filled gold boxes stand in for it."
        )
    if none:
        parts.append(f"{none} defects have neither and are left out.")
    return tag("p", " ".join(parts), class_=_WARNING) if parts else None


def _outcomes(runs: Sequence[Run]) -> list[tuple[str, dict[str, float]]]:
    found = [(run.name, run.metrics["outcomes"]) for run in runs if run.metrics is not None]
    return [(name, shares) for name, shares in found if shares["questions"]]


def _training(runs: Sequence[Run]) -> list[Markup | None]:
    trainings = [Training(run.name, run.history, run.warnings) for run in runs if run.history]
    charts = training_charts(trainings)
    told: list[Markup | None] = [
        tag(
            "p", f"{run.name}: " if len(runs) > 1 else None, line.get("text"), class_="note warning"
        )
        for run in runs
        for line in run.warnings
    ]
    return [*told, tag("div", *charts, class_="charts")] if charts else told


def _note(name: str, before: str = "") -> Markup:
    return tag("p", f"{before} {_NOTES[name]}".strip(), class_="note")
