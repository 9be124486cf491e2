"""Tiny trees in exactly the layout of each source, drawn by the tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pictures import save
from PIL import Image

SIZE = 48


def picture(seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """A smooth coloured picture (height, width, 3); every seed looks different."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 215, (8, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC))


def mask(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """White rectangles (x1, y1, x2, y2) on black."""
    pixels = np.zeros(size[::-1], np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = 255
    return pixels


BOX = (6, 8, 18, 20)


def mvtec(root: Path, products: tuple[str, ...] = ("bottle", "cable")) -> Path:
    """MVTec-AD: 3 train, 2 good, 2 crack and 1 hole a product."""
    for p, product in enumerate(products):
        base = root / product
        for n in range(3):
            save(base / f"train/good/{n:03d}.png", picture(100 * p + n))
        for n in range(2):
            save(base / f"test/good/{n:03d}.png", picture(100 * p + 10 + n))
        for defect, count in (("crack", 2), ("hole", 1)):
            for n in range(count):
                save(base / f"test/{defect}/{n:03d}.png", picture(100 * p + 20 + n + len(defect)))
                save(base / f"ground_truth/{defect}/{n:03d}_mask.png", mask(BOX))
    return root


def mvtec_ad2(root: Path) -> Path:
    base = root / "vial"
    save(base / "train/good/000_regular.png", picture(1))
    save(base / "validation/good/000_regular.png", picture(2))
    save(base / "test_public/good/000_regular.png", picture(3))
    save(base / "test_public/bad/000_regular.png", picture(4))
    save(base / "test_public/ground_truth/bad/000_regular_mask.png", mask(BOX))
    save(base / "test_private/000_regular.png", picture(5))
    return root


def loco(root: Path, times: int = 1) -> Path:
    base = root / "pushpins"
    for n in range(times):
        seed, name = 100 * n, f"{n:03d}"
        save(base / f"train/good/{name}.png", picture(seed + 1))
        save(base / f"validation/good/{name}.png", picture(seed + 2))
        save(base / f"test/good/{name}.png", picture(seed + 3))
        save(base / f"test/logical_anomalies/{name}.png", picture(seed + 4))
        masks = base / "ground_truth/logical_anomalies" / name
        save(masks / "000.png", mask((2, 2, 10, 10)))
        save(masks / "001.png", mask((30, 30, 44, 44)))
        # Without a mask, as some are.
        save(base / f"test/structural_anomalies/{name}.png", picture(seed + 5))
    return root


def goodsad(root: Path, times: int = 1) -> Path:
    base = root / "food_box"
    for n in range(times):
        save(base / f"train/good/{n:06d}.jpg", picture(100 * n + 1))
        save(base / f"test/good/{n:06d}.jpg", picture(100 * n + 2))
        save(base / f"test/opened/{n:06d}.jpg", picture(100 * n + 3))
        save(base / f"ground_truth/opened/{n:06d}.png", mask(BOX))
    return root


def visa_raw(root: Path) -> Path:
    rows = []
    annotations = ["image,label,mask"]
    for n, (split, label) in enumerate(
        [("train", "normal"), ("test", "normal"), ("test", "anomaly"), ("test", "anomaly")]
    ):
        folder = "Normal" if label == "normal" else "Anomaly"
        name = f"candle/Data/Images/{folder}/{n:04d}.JPG"
        save(root / name, picture(n))
        mark = ""
        if label == "anomaly":
            mark = f"candle/Data/Masks/Anomaly/{n:04d}.png"
            save(root / mark, mask(BOX) // 255)  # VisA's masks hold small numbers
        kinds = {0: "normal", 1: "normal", 2: "chunk of wax missing", 3: '"stain,melt"'}[n]
        annotations.append(f"{name},{kinds},{mark}")
        rows.append(f"candle,{split},{label},{name},{mark}")
    (root / "candle/image_anno.csv").write_text("\n".join(annotations) + "\n")
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\n" + "\n".join(rows) + "\n"
    )
    return root


def visa_1cls(root: Path) -> Path:
    base = root / "candle"
    save(base / "train/good/0000.JPG", picture(1))
    save(base / "test/good/0001.JPG", picture(2))
    save(base / "test/bad/0002.JPG", picture(3))
    save(base / "ground_truth/bad/0002.png", mask(BOX))
    return root


def real_iad(root: Path) -> Path:
    entries: dict[str, list] = {"train": [], "test": []}

    def add(part: str, code: str, path: str, mask_path: str | None, seed: int) -> None:
        save(root / "realiad_1024/mint" / path, picture(seed))
        if mask_path:
            save(root / "realiad_1024/mint" / mask_path, mask(BOX))
        entries[part].append(
            {"category": "mint", "anomaly_class": code, "image_path": path, "mask_path": mask_path}
        )

    add("train", "OK", "OK/S0001/a_C1.jpg", None, 1)
    add("train", "HS", "NG/HS/S0009/x_C1.jpg", "NG/HS/S0009/x_C1.png", 2)
    add("test", "OK", "OK/S0002/b_C1.jpg", None, 3)
    add("test", "HS", "NG/HS/S0003/c_C1.jpg", "NG/HS/S0003/c_C1.png", 4)
    add("test", "HS", "NG/HS/S0003/c_C2.jpg", "NG/HS/S0003/c_C2.png", 5)
    table = {"meta": {"prefix": "mint/", "normal_class": "OK"}, **entries}
    (root / "realiad_jsons").mkdir()
    (root / "realiad_jsons/mint.json").write_text(json.dumps(table))
    return root


def deeppcb(root: Path, pairs: int = 6) -> Path:
    """Pair n has a spur, and from the third on a pin-hole besides."""
    for n in range(pairs):
        folder = root / "PCBData/group12300/12300"
        board = picture(n)
        save(folder / f"1230000{n}_temp.jpg", board)
        defective = board.copy()
        defective[8:20, 6:18] = 0
        save(folder / f"1230000{n}_test.jpg", defective)
        lines = ["6 8 18 20 4"] + (["30 30 40 42 6"] if n >= 2 else [])
        notes = root / "PCBData/group12300/12300_not" / f"1230000{n}.txt"
        notes.parent.mkdir(exist_ok=True)
        notes.write_text("\n".join(lines) + "\n")
    return root


def magnetic_tile(root: Path) -> Path:
    for k, (kind, boxes) in enumerate([("Free", ()), ("Crack", (BOX,)), ("Blowhole", (BOX,))]):
        for n in range(5 if kind == "Free" else 2):
            base = root / f"MT_{kind}/Imgs/exp1_num_{10 * k + n}"
            save(base.with_suffix(".jpg"), picture(10 * k + n))
            save(base.with_suffix(".png"), mask(*boxes))
    return root


def elpv(root: Path, times: int = 1) -> Path:
    lines = []
    for n, (probability, kind) in enumerate(
        [
            (0, "mono"),
            (0, "mono"),
            (0, "poly"),
            (0, "poly"),
            (1, "mono"),
            (1, "poly"),
            (1 / 3, "mono"),
        ]
        * times
    ):
        name = f"images/cell{n:04d}.png"
        save(root / name, picture(n))
        lines.append(f"{name}  {probability}  {kind}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def coco(root: Path, times: int = 1) -> Path:
    """Of every four images one has a scratch, one a scratch and a dent."""
    images, annotations = range(4 * times), []
    for n in images:
        save(root / f"images/{n}.png", picture(n))
        for category, box in ((1, [6, 8, 12, 12]), (2, [30, 30, 10, 10]))[: (1, 2, 0, 0)[n % 4]]:
            entry = {"id": len(annotations) + 1, "image_id": n, "category_id": category}
            annotations.append({**entry, "bbox": box})
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in images],
        "categories": [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}],
        "annotations": annotations,
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def own_folder(root: Path) -> Path:
    """A user's parts: good/ and two defects; one with a mask, one with boxes, one with neither."""
    for n in range(5):
        save(root / f"good/{n}.png", picture(n))
    save(root / "scratch/0.png", picture(10))
    save(root / "masks/scratch/0.png", mask(BOX))
    save(root / "dent/0.png", picture(11))
    save(root / "dent/1.png", picture(12))
    (root / "boxes.json").write_text(json.dumps({"dent/0.png": [[6, 8, 18, 20, "dent"]]}))
    return root
