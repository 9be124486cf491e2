"""What `predict` says of all that it has inspected: a table of the first rows, and a count."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from typing import Any

from anomalyr1.cli.showing import print_table
from anomalyr1.inspection.result import weighed_probability
from anomalyr1.values import printable

_SHOWN = 40  # rows of the table
_ORDER = {"anomalous": 0, None: 1, "normal": 2}


class Summary:
    """Made row by row; keeps those of the table alone, however many come.

    Attributes:
        counts: images of each verdict; None for those without one.
        faults: images that could not be inspected.
    """

    def __init__(self) -> None:
        self.counts: Counter[str | None] = Counter()
        self.faults = 0
        self._first: list[tuple[tuple[int, str], Mapping[str, Any]]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row, as `inspection.ledger` makes them."""
        if "error" in row:
            self.faults += 1
            return
        verdict = row["verdict"]
        self.counts[verdict] += 1
        place = _ORDER[verdict], row["image"]
        insort(self._first, (place, row), key=lambda entry: entry[0])
        del self._first[_SHOWN:]

    def show(self) -> None:
        """Print the anomalous ones first, then by name; a count of all."""
        print_table(
            "Inspections",
            ["image", "verdict", "P(anomalous)", "boxes", "defect", "seconds"],
            (
                (
                    printable(row["image"]),
                    verdict_of(row),
                    "-" if (said := weighed_probability(row)) is None else f"{said:.3f}",
                    "-" if row["boxes"] is None else len(row["boxes"]),
                    printable(row["defect_type"] or _labels(row)),
                    f"{row['seconds']:.2f}",
                )
                for _, row in self._first
            ),
        )
        used = self.counts.total()
        if used > len(self._first):
            print(f"and {used - len(self._first)} more")
        parts = [f"{self.counts[verdict]} {verdict}" for verdict in ("anomalous", "normal")]
        parts += [f"{self.counts[None]} without a verdict"] if self.counts[None] else []
        parts += [f"{self.faults} not inspected"] if self.faults else []
        print(f"{used + self.faults} images: {', '.join(parts)}")


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict, else the option that was chosen."""
    if row["verdict"] is not None:
        return str(row["verdict"])
    return printable(row["options"].get(row["answer"], "unreadable"))


def _labels(row: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(box["label"] or "defect" for box in row["boxes"] or ()))
