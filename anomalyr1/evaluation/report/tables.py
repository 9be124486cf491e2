"""The report's tables: accuracy, detection, boxes, masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.cells import told_empty
from anomalyr1.evaluation.letter_scores import PARSED, PLACES
from anomalyr1.evaluation.report.markup import Child, Markup, escape, join, scrolling, tag
from anomalyr1.metrics.mcq import AVERAGE, MISS, OVERKILL
from anomalyr1.metrics.rare_shares import FEW

DASH = "–"
SMALL_PRINT = (
    "Small print: 95 % interval, Wilson's; drawing whole images again shows how many trials there "
    f"are. Where fewer than {FEW} images keep a share from 0 or 100 %, images are the trials."
)


def percent(value: float | None) -> str:
    """One decimal, or a dash where there is no value."""
    return DASH if value is None else f"{value:.1f}"


def with_interval(value: float | None, ends: Sequence[float] | None) -> Markup:
    """A percent value with its interval in small print."""
    if value is None or ends is None:
        return escape(percent(value))
    return join([percent(value), tag("small", f"{ends[0]:.1f} – {ends[1]:.1f}")])


def grid(
    header: Sequence[Child], rows: Sequence[Sequence[Child]], label: str | None = None
) -> Markup:
    """A plain table.

    Args:
        header: names of the columns.
        rows: of finished `<td>` elements or texts.
        label: what the table is called where the first name of `header` does not say it.
    """
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(c if _is_cell(c) else tag("td", c) for c in row[1:]),
        )
        for row in rows
    ]
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in header))),
        tag("tbody", *body),
    )
    return scrolling(table, label or header[0] or "")


def told_columns(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The columns, title to key, in which something stands: without P(anomalous) there is no AP."""
    rows = list(rows)
    return {
        title: key
        for title, key in columns.items()
        if any(cells.get(key) is not None for cells in rows)
    }


def of_a_part(metrics: Mapping[str, Any] | None, before: str = "") -> Markup | None:
    """Says why averages are missing; None where none is."""
    empty = (metrics or {}).get("empty_cells")
    return tag("p", f"{before}{told_empty(empty)}", class_="note warning") if empty else None


def accuracy_table(metrics: Mapping[str, Any], accounting: str) -> Markup:
    """Datasets x subtasks with intervals; a cell is shaded by its value."""
    table, intervals = metrics["mmad"][accounting], metrics["intervals"][accounting]
    # Of a part of a benchmark, the row Average lacks what its data sets have.
    columns = told_columns({name: name for name in table[AVERAGE]}, table.values())
    shares = metrics["overkill_miss"][accounting]
    costs = told_columns({name: name for name in (OVERKILL, MISS)}, shares.values())
    rows: list[list[Child]] = []
    for dataset, cells in table.items():
        if dataset == AVERAGE and len(table) == 2:
            continue  # of one dataset
        row: list[Child] = [dataset]
        row += [_shaded(cells[name], intervals[dataset][name]) for name in columns]
        row += [with_interval(shares[dataset][name], intervals[dataset][name]) for name in costs]
        rows.append(row)
    return grid(["", *columns, *costs], rows, f"Accuracy, {accounting}")


def detection_table(metrics: Mapping[str, Any]) -> Markup | None:
    """Normal or anomalous, from the Anomaly Detection answers and from the boxes."""
    rows: list[list[Child]] = []
    sources = [("answers", metrics.get("detection"))]
    boxes = metrics.get("localization", {}).get("boxes")
    if boxes is not None:
        pooled = {"pooled": boxes["pooled"]["detection"]}
        by_dataset = {name: cells["detection"] for name, cells in boxes["datasets"].items()}
        sources.append(("boxes", {**pooled, "datasets": by_dataset}))
    for source, results in sources:
        if not results or not results["pooled"]["normal"] + results["pooled"]["anomalous"]:
            continue
        for name, cells in _with_pooled(results):
            values = (percent(cells[key]) for key in _DETECTION.values())
            rows.append(
                [f"{name}, by {source}", f"{cells['normal']} + {cells['anomalous']}", *values]
            )
    if not rows:
        return None
    return grid(["", "normal + anomalous", *_DETECTION], rows, "Normal or anomalous")


def likelihood_tables(metrics: Mapping[str, Any]) -> list[Markup]:
    """Scores of images from the letters' likelihood, and the likeliest letter beside the read one.

    Nothing where no letters were weighed.
    """
    weighed = metrics.get("likelihood")
    if weighed is None:
        return []
    scores: list[list[Child]] = []
    for weigh, found in weighed["scores"].items():
        for name, cells in _with_pooled(found):
            row: list[Child] = [f"{name}, {PLACES[weigh]}"]
            row.append(f"{cells['normal']} + {cells['anomalous']}")
            row += [with_interval(cells[k], cells["intervals"][k]) for k in _SCORES.values()]
            brier = cells["brier"]
            scores.append([*row, DASH if brier is None else f"{brier:.3f}"])
    letters: list[list[Child]] = []
    columns = [
        name for name, v in weighed["letters"]["parsed"]["table"][AVERAGE].items() if v is not None
    ]
    for source, found in weighed["letters"].items():
        average = found["table"][AVERAGE]
        letters.append(
            [
                _LETTERS[source],
                *(percent(average[name]) for name in columns),
                with_interval(found["micro"], found["intervals"]["micro"]),
            ]
        )
    return [
        grid(["P(anomalous)", "normal + anomalous", *_SCORES, "Brier"], scores),
        grid(["Accuracy", *columns, "Micro"], letters),
    ]


def box_table(localization: Mapping[str, Any]) -> Markup | None:
    """Box metrics, pooled and by dataset."""
    if "boxes" not in localization:
        return None
    found = _with_pooled(localization["boxes"])
    columns = told_columns(_BOXES, [cells for _, cells in found])
    rows: list[list[Child]] = []
    for name, cells in found:
        ends = cells["intervals"]
        row: list[Child] = [name, f"{cells['gold']} / {cells['predicted']}"]
        row += [with_interval(cells.get(key), ends.get(key)) for key in columns.values()]
        error = cells["count_error"]
        rows.append([*row, DASH if error is None else f"{error:.2f}"])
    return grid(["", "gold / predicted", *columns, "Count error"], rows, "Boxes")


def mask_table(localization: Mapping[str, Any]) -> Markup | None:
    """Masks by segmenter and source: predicted boxes between the floor and the ceiling."""
    rows: list[list[Child]] = []
    for segmenter, sources in localization.get("masks", {}).items():
        for source, name in _SOURCES.items():
            if source not in sources:
                continue
            cells = sources[source]["pooled"]
            row: list[Child] = [f"{segmenter}: {name}"]
            row += [with_interval(cells[k], cells["intervals"].get(k)) for k in _MASKS.values()]
            rows.append(row)
    return grid(["", *_MASKS], rows, "Masks") if rows else None


_DETECTION = {
    "Balanced": "balanced_accuracy",
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "Overkill": "overkill",
    "Miss": "miss",
    "AUROC": "auroc",
}
_LETTERS: Mapping[str, str] = {
    PARSED: "letter as written",
    **{weigh: f"likeliest {place}" for weigh, place in PLACES.items()},
}
_SCORES = {
    "AUROC": "auroc",
    "AP": "average_precision",
    "Largest F1": "f1_max",
    "FPR at 95 % TPR": "fpr_at_95_tpr",
    "ECE": "ece",
}
_BOXES = {
    "F1 @ 0.33": "f1@0.33",
    "F1 @ 0.5": "f1@0.5",
    "Precision @ 0.5": "precision@0.5",
    "Recall @ 0.5": "recall@0.5",
    "AR 0.5:0.95": "ar",
    "AP 0.5:0.95": "ap",
    "Pointing": "pointing",
    "Set IoU": "set_iou",
    "Area IoU": "bbox_miou",
    "Area IoU ≥ 0.1": "bbox_acc@0.1",
    "Area IoU ≥ 0.3": "bbox_acc@0.3",
    "Area IoU ≥ 0.5": "bbox_acc@0.5",
}
_MASKS = {
    "IoU": "iou",
    "Dice": "dice",
    "Pixel F1": "pixel_f1",
    "Pixel IoU": "pixel_iou",
    "PRO": "pro",
    "at pixel FPR": "pixel_fpr",
    "Normals marked": "normal_flagged",
    "their area": "normal_area",
}
_SOURCES = {
    "predicted": "predicted boxes",
    "gold": "gold boxes (ceiling)",
    "whole": "whole image (floor)",
}


def _is_cell(value: Child) -> bool:
    return isinstance(value, Markup) and value.startswith("<td")


def _with_pooled(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    datasets = list(results["datasets"].items())
    return [*datasets, ("pooled", results["pooled"])] if len(datasets) != 1 else datasets


def _shaded(value: float | None, ends: Sequence[float] | None) -> Markup:
    shade = None if value is None else f"h{min(10, max(0, int(value / 10)))}"
    return tag("td", with_interval(value, ends), class_=shade)
