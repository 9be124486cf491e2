"""What a policy's vision tower knows of defects, read by linear heads and by nothing else.

Answers mix sight, looking an option up, and wording. Logistic regression on the merged tokens,
fitted to the training side and read on the test side, asks for the sight alone: whether an image
has a defect, and which tokens it covers.

python scripts/sight_probe.py data/tiny-policy benchmarks/magnetic-tile-split --side 224
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit
from torch.nn.functional import binary_cross_entropy_with_logits

from anomalyr1.config import PolicyConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.metrics.score_curves import MEASURES, weighted_measures
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.resizing import resized_size
from anomalyr1.schema import Sample
from anomalyr1.training.curriculum.sight import covered_grid

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
FOLDS = 4

Views = tuple[Image.Transpose | None, ...]
AS_IT_IS: Views = (None,)
TURNED: Views = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
)


def tokens_of(policy: Policy, image: Image.Image) -> NDArray[np.float32]:
    """(rows, columns, width): the merged tokens of an image."""
    images = policy.processor.image_processor
    read = images(images=[image.convert("RGB")], return_tensors="pt")
    with torch.no_grad():
        output = policy.model.model.visual(read["pixel_values"], grid_thw=read["image_grid_thw"])
    _, rows, columns = read["image_grid_thw"][0].tolist()
    merge = images.merge_size
    seen: NDArray[np.float32] = (
        output.pooler_output.view(rows // merge, columns // merge, -1).float().numpy()
    )
    return seen


def covered_by(
    sample: Sample, policy: Policy, size: tuple[int, int], cells: tuple[int, int]
) -> NDArray[np.bool_]:
    """(rows, columns): the tokens that a gold box covers."""
    if not sample.boxes:
        return np.zeros(cells, np.bool_)
    wide, high = resized_size(*size, policy.processor)
    frame = Frame.spoken(size, (wide, high), "pixels")
    corners = torch.tensor([frame.to_model(box).xyxy for box in sample.boxes])
    shares = corners / torch.tensor([wide, high, wide, high])
    covered: NDArray[np.bool_] = covered_grid(shares, *cells).any(0).numpy()
    return covered


@dataclass(frozen=True)
class Seen:
    """What the tower says of some views of images, and what is true of them.

    Attributes:
        pooled: (views, 3 * width): mean, maximum and standard deviation over a view's tokens.
        defective: (views,) whether the image has a defect.
        images: (views,) number of the image.
        tokens: (tokens of all views, width).
        covered: (tokens of all views,) whether a defect covers it.
        of_image: (tokens of all views,) number of the image.
    """

    pooled: NDArray[np.float32]
    defective: NDArray[np.bool_]
    images: NDArray[np.int64]
    tokens: NDArray[np.float32]
    covered: NDArray[np.bool_]
    of_image: NDArray[np.int64]

    def of(self, what: str) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
        """Inputs, truth and number of the image, of an `image` or a `token` each."""
        if what == "image":
            return self.pooled, self.defective, self.images
        return self.tokens, self.covered, self.of_image


def read(policy: Policy, samples: Iterable[Sample], views: Views) -> Seen:
    """The tokens of images, each in some views."""
    pooled, defective, images, tokens, covered = [], [], [], [], []
    for number, sample in enumerate(samples):
        image = open_image(sample.path)
        for view in views:
            turned = image if view is None else image.transpose(view)
            found = tokens_of(policy, turned)
            gold = covered_by(sample, policy, image.size, found.shape[:2])
            if view is not None:
                gold = np.asarray(Image.fromarray(gold).transpose(view))
            flat = found.reshape(-1, found.shape[-1])
            pooled.append(np.concatenate([flat.mean(0), flat.max(0), flat.std(0)]))
            defective.append(not sample.is_normal)
            images.append(number)
            tokens.append(flat)
            covered.append(gold.ravel())
    of_image = np.repeat(images, [len(flat) for flat in tokens])
    return Seen(
        np.array(pooled), np.array(defective), np.array(images),
        np.concatenate(tokens), np.concatenate(covered), of_image,
    )  # fmt: skip


def fit(inputs: NDArray[np.float32], gold: NDArray[np.bool_], decay: float) -> Any:
    """Logistic regression, classes of equal weight, with an L2 penalty: logits of inputs."""
    middle, spread = inputs.mean(0), inputs.std(0) + 1e-6
    x = torch.tensor((inputs - middle) / spread)
    y = torch.tensor(gold, dtype=torch.float32)
    share = y.mean().clamp(1e-6, 1 - 1e-6)
    row = torch.where(y > 0, 0.5 / share, 0.5 / (1 - share))
    weight = torch.zeros(x.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = binary_cross_entropy_with_logits(x @ weight + bias, y, row)
        found = found + decay * weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    w, b = weight.detach().numpy(), bias.detach().numpy()
    return lambda new: ((new - middle) / spread) @ w + b


def auroc(gold: NDArray[np.bool_], score: NDArray[np.float32]) -> float:
    """Share of pairs of a positive and a negative in which the positive has the higher logit."""
    probability = expit(score.astype(np.float64))
    measures = weighted_measures(probability, gold, np.ones((1, len(gold)), np.float32))[0]
    return float(measures[MEASURES.index("auroc")]) / 100


def chosen_decay(
    inputs: NDArray[np.float32], gold: NDArray[np.bool_], folds: NDArray[np.int64]
) -> float:
    """The penalty with the best mean AUROC over images left out of the fit."""

    def held_out(decay: float) -> float:
        return float(
            np.mean(
                [
                    auroc(
                        gold[folds == n],
                        fit(inputs[folds != n], gold[folds != n], decay)(inputs[folds == n]),
                    )
                    for n in range(FOLDS)
                ]
            )
        )

    return max(DECAYS, key=held_out)


def main(
    policy: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    benchmark: Annotated[Path, typer.Argument(help="Folder with train/ and test/.")],
    side: Annotated[int, typer.Option(help="Pixels of a square of as many.")] = 224,
    limit: Annotated[int, typer.Option(help="Training images at most.")] = 300,
) -> None:
    """AUROC and balanced accuracy by image and by token, on the test side, as JSON."""
    area = side * side
    loaded = load_policy(PolicyConfig(path=str(policy), min_pixels=area, max_pixels=area))
    train = read(loaded, load_benchmark(benchmark / "train").samples[:limit], TURNED)
    test = read(loaded, load_benchmark(benchmark / "test").samples, AS_IT_IS)
    figures: dict[str, Any] = {"images": [train.images.max().item() + 1, len(test.pooled)]}
    for name in ("image", "token"):
        inputs, gold, images = train.of(name)
        head = fit(inputs, gold, chosen_decay(inputs, gold, images % FOLDS))
        unseen, wanted, _ = test.of(name)
        score = head(unseen)
        right = [(score[wanted] > 0).mean(), (score[~wanted] <= 0).mean()]
        figures[name] = {
            "AUROC": round(100 * auroc(wanted, score), 1),
            "balanced accuracy": round(100 * float(np.mean(right)), 1),
            "positive": round(100 * float(wanted.mean()), 1),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
