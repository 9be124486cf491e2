"""What a policy's vision tower knows of defects, read by linear heads and by nothing else.

Answers mix sight, looking an option up, and wording. Logistic regression on the merged tokens, fitted to the training
side and read on the test side, asks for the sight alone: whether an image has a defect, and which tokens it covers.

python scripts/sight_probe.py data/tiny-policy benchmarks/magnetic-tile-split --side 224
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anomalyr1.config import PolicyConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.resizing import image_tokens, resized_size
from anomalyr1.schema import Sample

COVERED = 0.25  # a token belongs to a defect whose box covers this share of it

Views = tuple[Image.Transpose | None, ...]
AS_IT_IS: Views = (None,)
TURNED: Views = (None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)


def tokens_of(policy: Policy, image: Image.Image) -> NDArray[np.float32]:
    """(rows, columns, width): the merged tokens of an image."""
    images = policy.processor.image_processor
    read = images(images=[image.convert("RGB")], return_tensors="pt")
    with torch.no_grad():
        output = policy.model.model.visual(read["pixel_values"], grid_thw=read["image_grid_thw"])
    _, rows, columns = (read["image_grid_thw"][0] // torch.tensor([1, 1, 1])).tolist()
    merge = images.merge_size
    merged = output.pooler_output
    return merged.view(rows // merge, columns // merge, -1).float().numpy()


def covered_by(sample: Sample, policy: Policy, size: tuple[int, int], cells: tuple[int, int]) -> NDArray[np.bool_]:
    """(rows, columns): the tokens that a gold box covers."""
    resized = resized_size(*size, policy.processor)
    frame = Frame.spoken(size, resized, "pixels")
    rows, columns = cells
    high, wide = resized[1] / rows, resized[0] / columns
    covered = np.zeros(cells, np.bool_)
    for box in sample.boxes or ():
        seen = frame.to_model(box)
        x = np.arange(columns) * wide
        y = np.arange(rows) * high
        across = np.clip(np.minimum(x + wide, seen.x2) - np.maximum(x, seen.x1), 0, None)
        down = np.clip(np.minimum(y + high, seen.y2) - np.maximum(y, seen.y1), 0, None)
        part = down[:, None] * across[None, :]
        least = min(wide * high, (seen.x2 - seen.x1) * (seen.y2 - seen.y1))
        covered |= part >= COVERED * least
    return covered


def read(policy: Policy, samples: Iterable[Sample], views: Views) -> tuple[NDArray[np.float32], ...]:
    """Pooled tokens and verdicts of images; tokens and whether a defect covers them."""
    pooled, verdicts, tokens, covered = [], [], [], []
    for sample in samples:
        image = open_image(sample.path)
        first = tokens_of(policy, image)
        gold = covered_by(sample, policy, image.size, first.shape[:2])
        for view in views:
            found = first if view is None else tokens_of(policy, image.transpose(view))
            under = np.asarray(Image.fromarray(gold).transpose(view)) if view is not None else gold
            flat = found.reshape(-1, found.shape[-1])
            pooled.append(np.concatenate([flat.mean(0), flat.max(0), flat.std(0)]))
            verdicts.append(not sample.is_normal)
            tokens.append(flat)
            covered.append(under.ravel())
    return np.array(pooled), np.array(verdicts), np.concatenate(tokens), np.concatenate(covered)


def main(
    policy: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    benchmark: Annotated[Path, typer.Argument(help="Folder with train/ and test/.")],
    side: Annotated[int, typer.Option(help="Pixels of a square of as many.")] = 224,
    limit: Annotated[int, typer.Option(help="Training images at most.")] = 300,
) -> None:
    """Balanced accuracy by image and AUROC by token, on the test side, as JSON."""
    area = side * side
    loaded = load_policy(PolicyConfig(path=str(policy), min_pixels=area, max_pixels=area))
    train = read(loaded, load_benchmark(benchmark / "train").samples[:limit], TURNED)
    test = read(loaded, load_benchmark(benchmark / "test").samples, AS_IT_IS)
    figures = {"images": [len(train[0]) // len(TURNED), len(test[0])]}
    for name, at in (("image", 0), ("token", 2)):
        head = make_pipeline(
            StandardScaler(),
            LogisticRegressionCV(Cs=[1e-4, 1e-3, 1e-2, 0.1], cv=4, class_weight="balanced", scoring="roc_auc", max_iter=500),
        )
        head.fit(train[at], train[at + 1])
        for where, data in (("train", train), ("test", test)):
            score = head.predict_proba(data[at])[:, 1]
            figures[f"{name} {where}"] = {
                "auroc": round(100 * roc_auc_score(data[at + 1], score), 1),
                "balanced accuracy": round(100 * balanced_accuracy_score(data[at + 1], score > 0.5), 1),
            }
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
