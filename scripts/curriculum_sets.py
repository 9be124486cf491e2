"""The images that the tiny policy is taught on, in sets that are drawn side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.making.synthetic.products import LOOKALIKES, PRODUCTS
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.geometry import Frame
from anomalyr1.gold_completions import texts_about

SIDE, LARGE = 112, 336  # of the images of the first five stages, and of the others
A_SET = 500  # images drawn by one process


@dataclass(frozen=True)
class Set:
    """A set of images to draw."""

    out: Path
    images: int
    seed: int
    side: int = SIDE
    similar: bool = False
    products: tuple[str, ...] = tuple(PRODUCTS)

    def draw(self) -> None:
        """Draw it, unless it lies there."""
        if not self.out.exists():
            synthesize(
                self.out,
                train=self.images,
                test=1,
                seed=self.seed,
                size=self.side,
                similar=self.similar,
                products={name: {**PRODUCTS, **LOOKALIKES}[name] for name in self.products},
            )

    @property
    def train(self) -> Path:
        """Its images that are asked about."""
        return self.out / "train"


def sets(root: Path, images: int, large: int, seed: int) -> tuple[list[Set], list[Set], list[Set]]:
    """What is drawn small, what large, and what is held out: as the first, as the second."""
    small = [Set(root / f"{n:02d}", A_SET, seed + n) for n in range(-(-images // A_SET))]
    wide: list[Set] = []
    for n in range(-(-large // A_SET)):  # of the large ones two thirds are boards and tiles
        kinds = (
            ("large", 1 / 3, tuple(PRODUCTS)),
            ("board", 1 / 2, ("printed_circuit_board",)),
            ("tile", 1 / 6, ("magnetic_tile",)),
        )
        for own, (name, share, products) in enumerate(kinds, seed + 500 + len(kinds) * n):
            count = round(share * A_SET)
            wide.append(Set(root / f"{name}-{n:02d}", count, own, LARGE, True, products))
    test = [
        Set(root / "test", 120, seed + 999),
        Set(root / "test-large", 120, seed + 998, 224, True, tuple(LOOKALIKES)),
    ]
    return small, wide, test


def corpus(benchmark: Path) -> list[str]:
    """Everything the policy will read and write on this benchmark."""
    return texts_about(load_benchmark(benchmark).samples, Frame(224, 224, 112, 112))
