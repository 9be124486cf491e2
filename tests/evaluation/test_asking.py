"""The questions of an image are asked together where they fit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from anomalyr1.evaluation.backends.answering import batches

# questions of each image in turn, batch size -> the questions of each batch
CASES = [
    ([3, 3, 3], 6, [6, 3]),
    ([3, 3, 3], 7, [6, 3]),  # the third image would be torn for one question
    ([5], 2, [2, 2, 1]),  # an image alone larger than a batch
    ([1, 5, 2], 4, [1, 4, 3]),  # what is left of it makes room for the next
    ([2, 2], 1, [1, 1, 1, 1]),
    ([], 4, []),
]


@pytest.mark.parametrize(("questions", "size", "expected"), CASES)
def test_batches_by_image(questions, size, expected):
    rows = [
        SimpleNamespace(sample=SimpleNamespace(image=f"{image}.png"), index=index)
        for image, count in enumerate(questions)
        for index in range(count)
    ]
    found = list(batches(rows, size))
    assert [len(batch) for batch in found] == expected
    assert [row for batch in found for row in batch] == rows
