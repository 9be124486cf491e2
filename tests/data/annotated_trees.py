"""One set of pictures and marks, written in the form of every annotation tool by the tests."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from source_trees import picture, save

SIZE = (48, 40)  # width, height


@dataclass(frozen=True)
class Drawn:
    """A picture: its path below the images' folder, and its marks (label, x1, y1, x2, y2)."""

    name: str
    marks: tuple[tuple[str, int, int, int, int], ...] = ()
    seed: int = field(default=0)


DRAWN = (
    Drawn("a.png", (("scratch", 4, 6, 20, 12), ("dent", 30, 20, 44, 36)), 1),
    Drawn("b.png", (("dent", 0, 0, 9, 9),), 2),
    Drawn("c.png", (("scratch", 40, 30, 48, 40),), 3),
    Drawn("n1.png", (), 4),
    Drawn("n2.png", (), 5),
)
LABELS = ("dent", "scratch")


def pictures(folder: Path, drawn=DRAWN) -> None:
    for entry in drawn:
        save(folder / entry.name, picture(entry.seed, SIZE))


def corners(mark) -> list[tuple[int, int]]:
    _, x1, y1, x2, y2 = mark
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def pixels(mark) -> np.ndarray:
    _, x1, y1, x2, y2 = mark
    mask = np.zeros(SIZE[::-1], bool)
    mask[y1:y2, x1:x2] = True
    return mask


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def voc(root: Path, drawn=DRAWN, origin: int = 0, database: str = "mine") -> Path:
    pictures(root / "JPEGImages", drawn)
    for entry in drawn:
        objects = "".join(
            f"<object><name>{label}</name><difficult>0</difficult><bndbox>"
            f"<xmin>{x1 + origin}</xmin><ymin>{y1 + origin}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, x1, y1, x2, y2 in entry.marks
        )
        write(
            root / "Annotations" / f"{Path(entry.name).stem}.xml",
            f"<annotation><filename>{entry.name}</filename><source><database>{database}</database>"
            f"</source><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth>"
            f"</size>{objects}</annotation>",
        )
    return root


def yolo(root: Path, drawn=DRAWN, polygons: bool = False) -> Path:
    """The last two pictures are of the side valid."""
    width, height = SIZE
    for number, entry in enumerate(drawn):
        side = "train" if number < 3 else "valid"
        save(root / side / "images" / entry.name, picture(entry.seed, SIZE))
        lines = []
        for mark in entry.marks:
            label, x1, y1, x2, y2 = mark
            shares = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height]
            shares += [(x2 - x1) / width, (y2 - y1) / height]
            if polygons:
                shares = [v for x, y in corners(mark) for v in (x / width, y / height)]
            lines.append(" ".join(map(str, [LABELS.index(label), *shares])))
        write(root / side / "labels" / f"{Path(entry.name).stem}.txt", "\n".join(lines))
    write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['dent', 'scratch']\n",
    )
    return root


def labelme(root: Path, drawn=DRAWN, kind: str = "polygon") -> Path:
    pictures(root / "pics", drawn)
    for entry in drawn:
        shapes = []
        for mark in entry.marks:
            label, x1, y1, x2, y2 = mark
            shape = {"label": label, "shape_type": kind, "group_id": None, "flags": {}}
            if kind == "polygon":
                shape["points"] = [list(point) for point in corners(mark)]
            elif kind == "rectangle":
                shape["points"] = [[x2, y2], [x1, y1]]
            else:
                stream = io.BytesIO()
                full = Image.fromarray(np.full((y2 - y1, x2 - x1), 255, np.uint8))
                full.save(stream, format="PNG")
                shape["points"] = [[x1, y1], [x2 - 1, y2 - 1]]
                shape["mask"] = base64.b64encode(stream.getvalue()).decode()
            shapes.append(shape)
        write(
            root / "json" / f"{Path(entry.name).stem}.json",
            {
                "version": "5.4.1",
                "flags": {},
                "shapes": shapes,
                "imagePath": f"..\\pics\\{entry.name}",
                "imageData": "bm90IGFuIGltYWdl",
                "imageHeight": SIZE[1],
                "imageWidth": SIZE[0],
            },
        )
    return root


def brush_code(mask: np.ndarray) -> list[int]:
    """Label Studio's brush bytes: every block a run, all lengths of 16 bits."""
    values = np.repeat((mask * 255).astype(int).ravel(), 4)
    text = f"{len(values):032b}{7:05b}" + f"{2:04b}{7:04b}{11:04b}{15:04b}"
    place = 0
    while place < len(values):
        end = place
        while end < len(values) and values[end] == values[place] and end - place < 65536:
            end += 1
        text += f"1{3:02b}{end - place - 1:016b}{int(values[place]):08b}"
        place = end
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def label_studio(root: Path, drawn=DRAWN, kind: str = "rectangle", choice: bool = False) -> Path:
    pictures(root / "images", drawn)
    width, height = SIZE
    tasks = []
    for number, entry in enumerate(drawn):
        results = []
        for mark in entry.marks:
            label, x1, y1, x2, y2 = mark
            value: dict = {f"{kind}labels": [label]}
            if kind == "rectangle":
                value |= {"x": 100 * x1 / width, "y": 100 * y1 / height, "rotation": 0}
                value |= {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
            elif kind == "polygon":
                value |= {"points": [[100 * x / width, 100 * y / height] for x, y in corners(mark)]}
            else:
                value |= {"format": "rle", "rle": brush_code(pixels(mark))}
            results.append(
                {
                    "type": f"{kind}labels",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": value,
                }
            )
        if choice:
            results.append({"type": "choices", "value": {"choices": ["NG" if results else "OK"]}})
        tasks.append(
            {
                "id": number,
                "data": {"image": f"/data/local-files/?d=images/{entry.name}"},
                "annotations": [{"id": number, "was_cancelled": False, "result": results}],
            }
        )
    write(root / "export.json", tasks)
    return root


def cvat(root: Path, drawn=DRAWN, kind: str = "box") -> Path:
    pictures(root / "images", drawn)
    text = "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version>"
    for number, entry in enumerate(drawn):
        text += f'<image id="{number}" name="{entry.name}" width="{SIZE[0]}" height="{SIZE[1]}">'
        for mark in entry.marks:
            label, x1, y1, x2, y2 = mark
            if kind == "box":
                text += f'<box label="{label}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>'
            elif kind == "polygon":
                points = ";".join(f"{x}.00,{y}.00" for x, y in corners(mark))
                text += f'<polygon label="{label}" points="{points}"/>'
            else:  # a mask with one row of ground above the defect
                w, h = x2 - x1, y2 - y1
                top = max(y1 - 1, 0)
                runs = f"{w * (y1 - top)}, {w * h}"
                text += (
                    f'<mask label="{label}" rle="{runs}" left="{x1}" top="{top}" '
                    f'width="{w}" height="{h + y1 - top}"/>'
                )
        text += "</image>"
    write(root / "annotations.xml", text + "</annotations>")
    return root


def rle_csv(root: Path, drawn=DRAWN) -> Path:
    """A line a class of an image; pictures without a line are normal."""
    pictures(root / "train_images", drawn)
    height = SIZE[1]
    lines = ["ImageId,ClassId,EncodedPixels"]
    for entry in drawn:
        for mark in entry.marks:
            label, x1, y1, x2, y2 = mark
            runs = " ".join(f"{x * height + y1 + 1} {y2 - y1}" for x in range(x1, x2))
            lines.append(f"{entry.name},{LABELS.index(label) + 1},{runs}")
    write(root / "train.csv", "\n".join(lines) + "\n")
    return root


COLOURS = {"dent": "#2ca02c", "scratch": "#1f77b4"}


def manifest(root: Path, drawn=DRAWN, kind: str = "boxes") -> Path:
    pictures(root / "line1", drawn)
    lines = []
    for entry in drawn:
        row: dict = {"source-ref": f"s3://bucket/raw/line1/{entry.name}"}
        if kind == "boxes":
            row["job"] = {
                "image_size": [{"width": SIZE[0], "height": SIZE[1], "depth": 3}],
                "annotations": [
                    {
                        "class_id": LABELS.index(label),
                        "left": x1,
                        "top": y1,
                        "width": x2 - x1,
                        "height": y2 - y1,
                    }
                    for label, x1, y1, x2, y2 in entry.marks
                ],
            }
            row["job-metadata"] = {
                "type": "groundtruth/object-detection",
                "class-map": {"0": "dent", "1": "scratch"},
            }
        else:
            row["anomaly"] = int(bool(entry.marks))
            row["anomaly-metadata"] = {
                "type": "groundtruth/image-classification",
                "class-name": "anomaly" if entry.marks else "normal",
            }
        if kind == "mask" and entry.marks:
            image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)  # a white ground
            for mark in entry.marks:
                image[pixels(mark)] = list(bytes.fromhex(COLOURS[mark[0]][1:]))
            save(root / "masks" / entry.name, image)
            row["mask-ref"] = f"s3://bucket/out/masks/{entry.name}"
            row["mask-ref-metadata"] = {
                "type": "groundtruth/semantic-segmentation",
                "internal-color-map": {
                    "0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"},
                    "1": {"class-name": "dent", "hex-color": COLOURS["dent"]},
                    "2": {"class-name": "scratch", "hex-color": COLOURS["scratch"]},
                },
            }
        lines.append(json.dumps(row))
    write(root / "train.manifest", "\n".join(lines) + "\n")
    return root


def btad(root: Path) -> Path:
    for n in range(3):
        save(root / f"01/train/ok/{n:04d}.bmp", picture(n))
    save(root / "01/test/ok/0000.bmp", picture(10))
    for n in range(2):
        save(root / f"01/test/ko/{n:04d}.bmp", picture(20 + n))
        mask = np.zeros((48, 48), np.uint8)
        mask[8:20, 6:18] = 255
        save(root / f"01/ground_truth/ko/{n:04d}.png", mask)
    return root


def real_iad_variety(root: Path, times: int = 1) -> Path:
    """One product one folder deeper; one defective view without a mask of every defective part."""
    entries: dict[str, list] = {"train": [], "test": []}

    def add(part: str, kind: str, path: str, mask_path: str | None, seed: int) -> None:
        save(root / "realiadvariety_1024/gear/gear" / path, picture(seed))
        if mask_path:
            mask = np.zeros((48, 48), np.uint8)
            mask[8:20, 6:18] = 255
            save(root / "realiadvariety_1024/gear/gear" / mask_path, mask)
        entries[part].append(
            {"category": "gear", "anomaly_class": kind, "image_path": path, "mask_path": mask_path}
        )

    for part in range(0, 10 * times, 10):
        again = part or ""
        scratched = f"NG/Scratch/S{part + 3:04d}/c{again}"
        add("train", "OK", f"OK/S{part + 1:04d}/a{again}_C1.png", None, part + 1)
        add("test", "OK", f"OK/S{part + 2:04d}/b{again}_C1.png", None, part + 2)
        add("test", "Scratch", f"{scratched}_C1.png", f"{scratched}_C1_mask.png", part + 3)
        add("test", "Scratch", f"{scratched}_C2.png", None, part + 4)
    write(root / "realiadvariety_jsons/gear.json", entries)
    return root


FORMS = {
    "voc": voc,
    "yolo": yolo,
    "labelme": labelme,
    "label-studio": label_studio,
    "cvat": cvat,
    "rle-csv": rle_csv,
    "manifest": manifest,
}
