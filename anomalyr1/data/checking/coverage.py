"""What a benchmark cannot measure, because all of its answers are alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from anomalyr1.data.checking.findings import Finding
from anomalyr1.schema import Sample

_ENOUGH = 8  # questions of one type that share their letter by chance less than once in 100


def coverage_findings(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Warnings about sides without normal (or without defective) images and letters all alike."""
    sides: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        sides[sample.split or ""].append(sample)
    for side, members in sides.items():
        normals = sum(sample.is_normal for sample in members)
        if not normals:
            yield _warning(
                side,
                "no image is normal: false alarms, the accuracy on normals and AUROC cannot be "
                "measured",
            )
        elif normals == len(members):
            yield _warning(
                side,
                "every image is normal: missed defects, their places and AUROC cannot be measured",
            )
        yield from _letters(side, members)


def _letters(side: str, samples: Sequence[Sample]) -> Iterator[Finding]:
    letters: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        for question in sample.questions:
            if question.answer is not None:
                letters[question.type].append(question.answer)
    every = [letter for own in letters.values() for letter in own]
    if len(every) > 1 and len(set(every)) == 1:
        yield _warning(side, _always(every[0], f"all {len(every)} questions"))
        return
    for kind, own in letters.items():
        if len(own) >= _ENOUGH and len(set(own)) == 1:
            yield _warning(side, _always(own[0], f"all {len(own)} questions of {kind}"))


def _always(letter: str, which: str) -> str:
    return (
        f"the answer to {which} is {letter}: a policy that always says {letter} is right, so "
        "knowledge cannot be measured"
    )


def _warning(side: str, message: str) -> Finding:
    return Finding("warning", "coverage", f"split {side}" if side else "", message)
