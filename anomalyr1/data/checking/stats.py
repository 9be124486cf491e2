"""What is in a benchmark, in numbers and as one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from anomalyr1.data.images import image_size
from anomalyr1.data.mmad import Benchmark
from anomalyr1.errors import InputError

Rows = list[tuple[object, ...]]
Table = tuple[str, tuple[str, ...], Rows]

SIZE_BINS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # share of the image's area
LONGEST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Stats:
    """A described benchmark.

    Attributes:
        questions: question type -> category -> number.
        letters: number of options -> gold letter -> number.
        images: category -> "normal" or defect -> number of images.
        box_shares: area of each gold box as a share of its image.
        tokens: prompt tokens by row; empty without a processor.
        budget: most tokens a prompt may have.
    """

    questions: Mapping[str, Mapping[str, int]]
    letters: Mapping[int, Mapping[str, int]]
    images: Mapping[str, Mapping[str, int]]
    box_shares: tuple[float, ...]
    tokens: Mapping[str, int]
    budget: int

    @property
    def over_budget(self) -> list[tuple[str, int]]:
        """Rows longer than the budget, the longest first."""
        long = [(row, n) for row, n in self.tokens.items() if n > self.budget]
        return sorted(long, key=lambda pair: (-pair[1], pair[0]))


def describe(
    benchmark: Benchmark, tokens: Mapping[str, int] | None = None, budget: int = 4096
) -> Stats:
    """Count what is in a benchmark.

    Args:
        benchmark: its images are opened (headers only) where they have boxes.
        tokens: prompt tokens by row ("<image key>#<question index>").
        budget: most tokens a prompt may have.

    Raises:
        InputError: an image with boxes cannot be read.
    """
    questions: dict[str, Counter[str]] = {}
    letters: dict[int, Counter[str]] = {}
    images: dict[str, Counter[str]] = {}
    shares = []
    for sample in benchmark.samples:
        category = f"{sample.dataset}/{sample.category}"
        kind = "normal" if sample.is_normal else sample.defect
        images.setdefault(category, Counter())[kind] += 1
        for question in sample.questions:
            questions.setdefault(question.type, Counter())[category] += 1
            if question.answer is not None:
                letters.setdefault(len(question.options), Counter())[question.answer] += 1
        if sample.boxes:
            width, height = image_size(sample.path)
            shares += [box.area / (width * height) for box in sample.boxes]
    return Stats(questions, letters, images, tuple(shares), tokens or {}, budget)


def tables(stats: Stats) -> list[Table]:
    """(title, columns, rows) of every table."""
    categories = sorted(stats.images)
    by_type: Rows = [
        (kind, *(stats.questions[kind].get(c, 0) for c in categories), sum(numbers.values()))
        for kind, numbers in sorted(stats.questions.items())
    ]
    images: Rows = [
        (category, kind, number)
        for category in categories
        for kind, number in sorted(stats.images[category].items())
    ]
    letters: Rows = [
        (options, letter, number, f"{number / sum(counts.values()):.0%}")
        for options, counts in sorted(stats.letters.items())
        for letter, number in sorted(counts.items())
    ]
    found: list[Table] = [
        ("Images", ("category", "kind", "images"), images),
        ("Questions", ("type", *categories, "all"), by_type),
        ("Gold letters", ("options", "letter", "questions", "share"), letters),
    ]
    if stats.box_shares:
        boxes: Rows = [(name, number) for name, number in _box_histogram(stats.box_shares)]
        found.append(("Box area, share of the image", ("share", "boxes"), boxes))
    if stats.tokens:
        lengths = np.array(list(stats.tokens.values()))
        cuts = np.percentile(lengths, (0, 50, 95, 100)).round().astype(int).tolist()
        row: Rows = [(*cuts, len(stats.over_budget), stats.budget)]
        columns = ("shortest", "median", "95 %", "longest", "over budget", "budget")
        found.append(("Prompt tokens", columns, row))
        if stats.over_budget:
            longest: Rows = [tuple(pair) for pair in stats.over_budget[:LONGEST_SHOWN]]
            left = len(stats.over_budget) - len(longest)
            title = "Rows over budget" + (f" (and {left} more)" if left else "")
            found.append((title, ("row", "tokens"), longest))
    return found


def draw(stats: Stats, path: Path) -> None:
    """Draw the tables as bars into one PNG.

    Raises:
        InputError: the file cannot be written.
    """
    from anomalyr1.data.checking.histograms import bar_chart, stack

    letters = [
        (f"{letter} of {options}", number)
        for options, counts in sorted(stats.letters.items())
        for letter, number in sorted(counts.items())
    ]
    charts = [
        bar_chart(
            "Questions by type",
            [(kind, sum(n.values())) for kind, n in sorted(stats.questions.items())],
        ),
        bar_chart(
            "Images by category",
            [(name, sum(n.values())) for name, n in sorted(stats.images.items())],
        ),
        bar_chart("Gold letters", letters),
    ]
    if stats.box_shares:
        charts.append(bar_chart("Box area, share of the image", _box_histogram(stats.box_shares)))
    if stats.tokens:
        charts.append(bar_chart("Prompt tokens", _token_histogram(stats.tokens.values())))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stack(charts).save(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"expected an image file like stats.png, found {path} ({error}); give another --out"
        ) from None


def _box_histogram(shares: Sequence[float]) -> list[tuple[str, int]]:
    numbers, _ = np.histogram(shares, SIZE_BINS)
    names = [f"{low:.0%} - {high:.0%}" for low, high in pairwise(SIZE_BINS)]
    return list(zip(names, numbers.tolist(), strict=True))


def _token_histogram(lengths: Iterable[int]) -> list[tuple[str, int]]:
    values = np.array(list(lengths))
    numbers, edges = np.histogram(values, min(10, len(np.unique(values))))
    names = [f"{low:.0f} - {high:.0f}" for low, high in pairwise(edges)]
    return list(zip(names, numbers.tolist(), strict=True))
