"""A first lesson for a vision tower with random weights: what is where in the image.

A policy that starts from nothing learns to write long before it learns to look: the language loss
rewards wording at every token and sight at very few. This warm-up trains the vision tower and the
patch merger alone, with throw-away linear heads on each merged token: which defect covers it, the
corners of that defect's box, and the product. Real checkpoints do not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from anomalyr1.data.images import image_size, open_image
from anomalyr1.geometry import Frame
from anomalyr1.policy.load import Policy
from anomalyr1.policy.resizing import resized_size
from anomalyr1.schema import Box, Sample
from anomalyr1.terminal import notes

# A cell is taught to a defect when the box covers this share of the cell, or the cell this share
# of the box.
COVERED = 0.25


def warm_up(
    policy: Policy,
    samples: Sequence[Sample],
    *,
    steps: int,
    batch_size: int = 48,
    learning_rate: float = 1e-3,
    seed: int = 0,
    console: Console | None = None,
) -> None:
    """Train the vision tower in place on images with at most one defect and one common size.

    Args:
        policy: model and processor; only the vision tower and merger change.
        samples: with gold boxes on record, labelled.
        steps: optimiser steps.
        batch_size: images a step.
        learning_rate: peak of a one-cycle schedule.
        seed: of the order of images and of the heads.
        console: where progress is printed.
    """
    console = console or notes()
    torch.manual_seed(seed)
    model: Any = policy.model
    pixels, grid = _pixels(policy, samples)
    defects = sorted({box.label or "" for sample in samples for box in sample.boxes or ()})
    products = sorted({sample.category for sample in samples})
    kinds, corners = _cell_targets(policy, samples, defects, grid)
    product = torch.tensor([products.index(sample.category) for sample in samples])
    width = model.config.text_config.hidden_size
    heads = nn.ModuleDict(
        {
            "kind": nn.Linear(width, len(defects) + 1),
            "corners": nn.Linear(width, 4),
            "product": nn.Linear(width, len(products)),
        }
    )
    part_of = policy.family.part_of
    vision = [p for name, p in model.named_parameters() if part_of(name) != "language"]
    optimizer = torch.optim.AdamW([*vision, *heads.parameters()], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        rows = torch.randint(len(samples), (batch_size,), generator=order)
        features = _features(model, pixels[rows].float(), grid)  # (batch, cells, width)
        kind_loss = nn.functional.cross_entropy(
            heads["kind"](features).flatten(0, 1), kinds[rows].flatten()
        )
        covered = kinds[rows] > 0
        corner_error = (heads["corners"](features) - corners[rows][:, None]).abs()
        corner_loss = corner_error[covered].mean() if covered.any() else kind_loss * 0
        logits = heads["product"](features.mean(1))
        product_loss = nn.functional.cross_entropy(logits, product[rows])
        optimizer.zero_grad()
        torch.autograd.backward(kind_loss + corner_loss + 0.2 * product_loss)
        nn.utils.clip_grad_norm_(vision, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            console.print(
                f"vision warm-up {step}/{steps}  defect {kind_loss.item():.3f}  "
                f"corners {corner_loss.item():.3f}  product {product_loss.item():.3f}"
            )


def _pixels(policy: Policy, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """(N, patches, patch dimensions) in half precision, and the one grid (1, 3) they share."""
    processor: Any = policy.processor
    chunks, grid = [], None
    for start in range(0, len(samples), 64):
        images = [open_image(Path(sample.path)) for sample in samples[start : start + 64]]
        inputs = processor.image_processor(images=images, return_tensors="pt")
        grid = inputs["image_grid_thw"][:1]
        chunks.append(inputs["pixel_values"].view(len(images), int(grid.prod()), -1).half())
    assert grid is not None
    return torch.cat(chunks), grid


def _features(model: Any, pixels: Tensor, grid: Tensor) -> Tensor:
    output = model.model.get_image_features(
        pixels.flatten(0, 1), grid.repeat(len(pixels), 1), return_dict=True
    )
    features: Tensor = torch.stack(list(output.pooler_output))
    return features


def _cell_targets(
    policy: Policy, samples: Sequence[Sample], defects: Sequence[str], grid: Tensor
) -> tuple[Tensor, Tensor]:
    """Defect number of each cell (N, cells), 0 for none; corners (N, 4) as shares of the frame."""
    merge, side = policy.family.merge_size, policy.family.factor
    rows, columns = (int(value) // merge for value in grid[0, 1:])
    kinds = torch.zeros(len(samples), rows * columns, dtype=torch.long)
    corners = torch.zeros(len(samples), 4)
    for number, sample in enumerate(samples):
        size = image_size(sample.path)
        frame = Frame(*size, *resized_size(*size, policy.processor))  # pixels, whatever is spoken
        for gold in sample.boxes or ():
            box = frame.to_model(gold)
            sides = (frame.model_width, frame.model_height) * 2
            corners[number] = torch.tensor([v / s for v, s in zip(box.xyxy, sides, strict=True)])
            for cell in range(rows * columns):
                if _covers(box, cell // columns, cell % columns, side):
                    kinds[number, cell] = 1 + defects.index(gold.label or "")
    return kinds, corners


def _covers(box: Box, row: int, column: int, side: int) -> bool:
    width = min(box.x2, (column + 1) * side) - max(box.x1, column * side)
    height = min(box.y2, (row + 1) * side) - max(box.y1, row * side)
    common = max(0.0, width) * max(0.0, height)
    return common >= COVERED * side * side or common >= COVERED * box.area
