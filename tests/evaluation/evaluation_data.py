"""A tiny benchmark of drawn images with predictions whose every score can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pictures import save

from anomalyr1.evaluation.prediction_lines import prediction_to_row
from anomalyr1.gold_completions import format_boxes
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, Box, Prediction
from anomalyr1.storage import write_jsonl

WIDTH, HEIGHT = 80, 60
FRAME = (112, 56)  # 1.4 and 0.9333 times the original: an axis each
YES_NO = {"A": "Yes.", "B": "No."}
DEFECT = Box(20, 15, 40, 30, "dent")


def completion(conclusion: str, answer: str) -> str:
    return f"<think>I look closely. {conclusion}</think>\n<answer>{answer}</answer>"


def letter(answer: str, conclusion: str | None = None) -> str:
    return completion(f"So the answer is {conclusion or answer}.", answer)


def boxes(*in_frame: Box) -> str:
    verdict = "abnormal" if in_frame else "normal"
    return completion(f"So the product is {verdict}.", format_boxes(in_frame))


def to_frame(box: Box) -> Box:
    sx, sy = FRAME[0] / WIDTH, FRAME[1] / HEIGHT
    return Box(box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy, box.label)


def image_key(name: str, normal: bool, dataset: str = "Drawn") -> str:
    return f"{dataset}/part/test/{'good' if normal else 'dent'}/{name}.png"


def question(
    name: str,
    index: int,
    text: str,
    *,
    type: str = ANOMALY_DETECTION,
    normal: bool = False,
    dataset: str = "Drawn",
    answer: str | None = None,
    template: str = "choice",
    gold: Sequence[Box] | None = None,
    mask: bool = False,
    score: float | None = None,
) -> Prediction:
    """A prediction on a drawn image; gold is one dent where the image is anomalous."""
    grounding = type == GROUNDING
    key = image_key(name, normal, dataset)
    return Prediction(
        image=key,
        question_index=index,
        question_type=type,
        options={} if grounding else YES_NO,
        answer=None if grounding else answer or ("B" if normal else "A"),
        completion=text,
        template="grounding" if grounding else template,
        frame=FRAME,
        size=(WIDTH, HEIGHT),
        gold_boxes=tuple(gold) if gold is not None else () if normal else (DEFECT,),
        mask=key.replace("/test/", "/ground_truth/") if mask else None,
        normal=normal,
        question="Is there any defect?",
        references=("Drawn/part/train/good/0.png",),
        score=score,
    )


def draw(root: Path, predictions: Sequence[Prediction]) -> None:
    """Write every image, reference and mask that the predictions name."""
    generator = np.random.default_rng(0)
    for prediction in predictions:
        pixels = generator.normal(180, 4, (HEIGHT, WIDTH, 3))
        gold = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for box in prediction.gold_boxes or ():
            x1, y1, x2, y2 = (int(corner) for corner in box.xyxy)
            pixels[y1:y2, x1:x2] -= 110
            gold[y1:y2, x1:x2] = 255
        save(root / prediction.image, pixels.clip(0, 255).astype(np.uint8))
        for reference in prediction.references:
            save(root / reference, np.full((HEIGHT, WIDTH, 3), 180, dtype=np.uint8))
        if prediction.mask is not None:
            save(root / prediction.mask, gold)


def write(path: Path, predictions: Sequence[Prediction]) -> Path:
    write_jsonl(path, [prediction_to_row(prediction) for prediction in predictions])
    return path
