"""A small RobustMAD: drawn images, and a file in the form of RobustMAD_MCQ.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pictures import save

from anomalyr1.schema import ROBUSTMAD_TYPES

OPTIONS = {
    "A": "Dent on the rim, may leak",
    "B": "Object is normal, no major defects",
    "C": "Glass bottle",
    "D": "Image does not show scissors.",
    "E": "To hold liquid",
}
_REFERENCE = "reference_image_path"
ANSWERS = ("C", "A", "A", "D")  # of a defective image, in the order of the categories


def robustmad_content() -> dict[str, Any]:
    """Four images of two products, each with one question of each category."""
    images = []
    for number, (dataset, product, side, suffix) in enumerate(
        (
            ("MVTec-AD", "bottle", "good", "png"),
            ("MVTec-AD", "bottle", "dented", "png"),
            ("VisA", "pcb3", "good", "JPG"),
            ("VisA", "pcb3", "bad", "JPG"),
        )
    ):
        normal = side == "good"
        folder = f"{dataset}/{product}/test"
        questions = [
            {
                "question_id": 4 * number + place + 1,
                "robustness_category": category,
                "question_type": "MCQ",
                "question": f"What of {category}?",
                "options": OPTIONS,
                "answer": "B" if normal and answer == "A" else answer,
            }
            for place, (category, answer) in enumerate(zip(ROBUSTMAD_TYPES, ANSWERS, strict=True))
        ]
        images.append(
            {
                "dataset": dataset,
                "category": product,
                "image_id": f"{number:03d}.{suffix}",
                "image_path": f"{folder}/{side}/{number:03d}.{suffix}",
                "specie_name": side,
                "anomaly": int(not normal),
                "difficulty": "general" if product == "bottle" else "domain",
                "reference_image_id": f"100.{suffix}",
                # Images that are asked about are references of others there, too.
                _REFERENCE: f"{folder}/good/{100 if normal else number - 1:03d}.{suffix}",
                "query_txt_path": f"{folder}/{side}/{number:03d}.txt",
                "reference_txt_path": f"{folder}/good/100.txt",
                "questions": questions,
            }
        )
    return {"images": images}


def write_robustmad(root: Path) -> Path:
    """Draw the images below `root` and write the file there."""
    content = robustmad_content()
    keys = [image[key] for image in content["images"] for key in ("image_path", _REFERENCE)]
    for number, key in enumerate(dict.fromkeys(keys)):
        save(root / key, np.full((56, 56, 3), 30 * (number + 1), dtype=np.uint8))
    file = root / "RobustMAD_MCQ.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
