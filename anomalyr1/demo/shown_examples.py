"""Images to try the page with, and the products that they show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import choose_references, load_benchmark
from anomalyr1.inspection.calibration import Calibration
from anomalyr1.schema import Sample
from anomalyr1.values import in_words, printable

_DRAWN = 12  # a good and a bad one of each product
_SHOWN = 8
_REFERENCES = 1


@dataclass(frozen=True)
class Examples:
    """What can be chosen.

    Attributes:
        images: what to call each, its file and its product.
        references: of each product that can be chosen, normal parts, or none where the benchmark
            names none.
    """

    images: tuple[tuple[str, Path, str], ...]
    references: dict[str, tuple[Path, ...]]


def draw_benchmark(folder: Path) -> Path:
    """Draw a small benchmark, as `data synth` does; its images take two seconds and 6 MB."""
    synthesize(folder, train=1, test=_DRAWN)
    return folder / "test"


def read_examples(benchmark: Path, calibration: Calibration | None = None) -> Examples:
    """The first images of a benchmark, products in turn, normal and not.

    Args:
        benchmark: folder or mmad.json.
        calibration: of the inspector that is shown them. Its threshold is refused with another
            number of references than it was chosen with: so many of a product are shown, and for
            none, no product can be chosen. Without it, one is shown.

    Raises:
        InputError: nothing readable is there.
    """
    samples = load_benchmark(benchmark).samples
    count = calibration.references if calibration is not None else None
    count = _REFERENCES if count is None else count
    references: dict[str, tuple[Path, ...]] = {}
    for sample in samples if count else ():
        chosen = tuple(sample.root / key for key in choose_references(sample, count))
        references.setdefault(_product(sample), chosen)
    images = tuple((_caption(s), s.path, _product(s)) for s in _varied(samples))
    return Examples(images, references)


def _varied(samples: tuple[Sample, ...] | list[Sample]) -> list[Sample]:
    """The first of each product and side, those with a defect before the others."""
    first: dict[tuple[str, bool], Sample] = {}
    for sample in samples:
        first.setdefault((_product(sample), sample.is_normal), sample)
    return sorted(first.values(), key=lambda sample: sample.is_normal)[:_SHOWN]


def _product(sample: Sample) -> str:
    return printable(in_words(sample.category))


def _caption(sample: Sample) -> str:
    return f"{_product(sample)}, {printable(in_words(sample.defect))}"
