"""Boxes written for annotation tools: Label Studio, CVAT, COCO, VOC and YOLO.

Every form is read back by the source of its name (`data build label-studio DIR`, ...). Beside it
stands `proposed.jsonl`: what was written, with the SHA-256 of each image, for the comparison with
what the annotators make of it (`anomalyr1.data.making.corrections`). Images are linked into the
folder; their keys become one name each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from anomalyr1.data.fingerprint import file_sha256
from anomalyr1.data.images import image_size
from anomalyr1.data.making.placing import place_file
from anomalyr1.errors import InputError, unknown
from anomalyr1.output_folder import new_folder
from anomalyr1.schema import Box
from anomalyr1.storage import write_json, write_jsonl, write_text

PROPOSED = "proposed.jsonl"
UNNAMED = "defect"  # the label of a box without one


@dataclass(frozen=True, slots=True)
class Proposal:
    """One image and the boxes that an annotator starts from.

    Attributes:
        key: the image's key in its benchmark.
        file: the image.
        boxes: in pixels of the upright image.
        score: anomaly score of the image in [0, 1]; None without one.
    """

    key: str
    file: Path
    boxes: tuple[Box, ...]
    score: float | None = None


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A proposal as it is written: the name of its image in the folder, and its size."""

    name: str
    size: tuple[int, int]
    proposal: Proposal

    @property
    def marks(self) -> list[tuple[str, Box]]:
        """(label, box) of every box."""
        return [(box.label or UNNAMED, box) for box in self.proposal.boxes]


def write_annotations(proposals: Sequence[Proposal], out: Path, form: str, origin: str) -> Path:
    """Write a folder that an annotation tool takes in.

    Args:
        proposals: images and boxes.
        out: folder to write to; empty or new.
        form: one of `WRITERS`.
        origin: where the boxes come from, told to the tool (`model_version`) and kept.

    Returns:
        The file that the tool imports (for YOLO and VOC, the first of their kind).

    Raises:
        InputError: the form does not exist, an image is missing, or two keys give one name.
    """
    if form not in WRITERS:
        raise unknown("a format of annotations", form, WRITERS)
    if not proposals:
        raise InputError("expected images with boxes to export, found none; export what has some")
    # without a blank at the front, which readers of XML take away
    names = [p.key.replace("/", "__").strip() for p in proposals]
    sheets = [_Sheet(n, image_size(p.file), p) for n, p in zip(names, proposals, strict=True)]
    if len({sheet.name.casefold() for sheet in sheets}) < len(sheets):
        raise InputError(
            "expected keys that give one file name each, found two alike but for / and __; rename "
            "an image"
        )
    stems = {Path(sheet.name).stem.casefold() for sheet in sheets}
    if len(stems) < len(sheets):  # a.png and a.jpg: the forms name annotations by the stem
        sheets = [_Sheet(f"{n:06d}__{s.name}", s.size, s.proposal) for n, s in enumerate(sheets)]
    images, write = WRITERS[form]
    with new_folder(out):
        for sheet in sheets:
            place_file(sheet.proposal.file, out / images / sheet.name)
        write_jsonl(out / PROPOSED, (_proposed(sheet, origin) for sheet in sheets))
        return write(sheets, out, origin)


def _proposed(sheet: _Sheet, origin: str) -> dict[str, Any]:
    return {
        "sha256": file_sha256(sheet.proposal.file),
        "image": sheet.proposal.key,
        "size": list(sheet.size),
        "boxes": [list(box.xyxy) for box in sheet.proposal.boxes],
        "labels": [box.label for box in sheet.proposal.boxes],
        "score": sheet.proposal.score,
        "origin": origin,
    }


def _labels(sheets: Sequence[_Sheet]) -> list[str]:
    return sorted({label for sheet in sheets for label, _ in sheet.marks}) or [UNNAMED]


def _label_studio(sheets: Sequence[_Sheet], out: Path, origin: str) -> Path:
    """Tasks with predictions; their images are served as local files below `out`."""
    tasks = []
    for number, sheet in enumerate(sheets, start=1):
        width, height = sheet.size
        score = {} if sheet.proposal.score is None else {"score": sheet.proposal.score}
        regions = [
            {
                "id": f"{number}-{count}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "x": 100 * box.x1 / width,
                    "y": 100 * box.y1 / height,
                    "width": 100 * (box.x2 - box.x1) / width,
                    "height": 100 * (box.y2 - box.y1) / height,
                    "rotation": 0,
                    "rectanglelabels": [label],
                },
                **score,
            }
            for count, (label, box) in enumerate(sheet.marks, start=1)
        ]
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/local-files/?d=images/{quote(sheet.name, safe='')}"},
                "predictions": [{"model_version": origin, "result": regions, **score}],
            }
        )
    choices = "".join(f"<Label value={quoteattr(label)}/>" for label in _labels(sheets))
    write_text(
        out / "label_config.xml",
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{choices}</RectangleLabels></View>\n',
    )
    write_json(out / "tasks.json", tasks)
    return out / "tasks.json"


def _cvat(sheets: Sequence[_Sheet], out: Path, origin: str) -> Path:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    labels = "".join(f"<label><name>{escape(label)}</name></label>" for label in _labels(sheets))
    task = f"<name>{escape(origin)}</name><labels>{labels}</labels>"
    lines.append(f"<meta><task>{task}</task></meta>")
    for number, sheet in enumerate(sheets):
        width, height = sheet.size
        lines.append(
            f'<image id="{number}" name={quoteattr(sheet.name)} width="{width}" height="{height}">'
        )
        for label, box in sheet.marks:
            corners = zip(("xtl", "ytl", "xbr", "ybr"), box.xyxy, strict=True)
            places = " ".join(f'{name}="{value:.2f}"' for name, value in corners)
            lines.append(f'<box label={quoteattr(label)} occluded="0" {places} z_order="0"></box>')
        lines.append("</image>")
    write_text(out / "annotations.xml", "\n".join([*lines, "</annotations>", ""]))
    return out / "annotations.xml"


def _coco(sheets: Sequence[_Sheet], out: Path, origin: str) -> Path:
    labels = _labels(sheets)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sheet in enumerate(sheets, start=1):
        width, height = sheet.size
        images.append({"id": number, "file_name": sheet.name, "width": width, "height": height})
        for label, box in sheet.marks:
            entry = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": labels.index(label) + 1,
                "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
                "area": box.area,
                "iscrowd": 0,
                "segmentation": [],
            }
            if sheet.proposal.score is not None:
                entry["score"] = sheet.proposal.score
            annotations.append(entry)
    categories = [{"id": n, "name": label} for n, label in enumerate(labels, start=1)]
    file = out / "annotations" / "instances_default.json"
    content = {"info": {"description": origin}, "images": images, "annotations": annotations}
    write_json(file, {**content, "categories": categories})
    return file


def _voc(sheets: Sequence[_Sheet], out: Path, origin: str) -> Path:
    """Whole pixels from 0, the end exclusive, as labelImg writes them."""
    files = []
    for sheet in sheets:
        width, height = sheet.size
        lines = [
            f"<annotation><folder>JPEGImages</folder><filename>{escape(sheet.name)}</filename>",
            f"<source><database>anomalyr1</database><annotation>{escape(origin)}</annotation>"
            "</source>",
            f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        ]
        for label, box in sheet.marks:
            corners = zip(("xmin", "ymin", "xmax", "ymax"), _whole(box, sheet.size), strict=True)
            places = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
            lines.append(
                f"<object><name>{escape(label)}</name><difficult>0</difficult>"
                f"<bndbox>{places}</bndbox></object>"
            )
        files.append(out / "Annotations" / f"{Path(sheet.name).stem}.xml")
        write_text(files[-1], "\n".join([*lines, "</annotation>", ""]))
    return files[0]


def _whole(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Whole pixels, at least one wide and high, inside the image."""
    x1, y1 = min(round(box.x1), size[0] - 1), min(round(box.y1), size[1] - 1)
    return x1, y1, max(round(box.x2), x1 + 1), max(round(box.y2), y1 + 1)


def _yolo(sheets: Sequence[_Sheet], out: Path, origin: str) -> Path:
    labels = _labels(sheets)
    for sheet in sheets:
        width, height = sheet.size
        lines = [
            f"{labels.index(label)} {(box.x1 + box.x2) / 2 / width:.8f} "
            f"{(box.y1 + box.y2) / 2 / height:.8f} {(box.x2 - box.x1) / width:.8f} "
            f"{(box.y2 - box.y1) / height:.8f}\n"
            for label, box in sheet.marks
        ]
        write_text(out / "labels" / f"{Path(sheet.name).stem}.txt", "".join(lines))
    names = "".join(f"  {n}: {json.dumps(label)}\n" for n, label in enumerate(labels))
    note = " ".join(origin.split())
    write_text(out / "data.yaml", f"# {note}\npath: .\ntrain: images\nval: images\nnames:\n{names}")
    return out / "data.yaml"


Write = Callable[[Sequence[_Sheet], Path, str], Path]
# form -> folder of the images, and what writes the annotations
WRITERS: Mapping[str, tuple[str, Write]] = {
    "label-studio": ("images", _label_studio),
    "cvat": ("images", _cvat),
    "coco": ("images", _coco),
    "voc": ("JPEGImages", _voc),
    "yolo": ("images", _yolo),
}
