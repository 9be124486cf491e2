"""MMAD's published tables turned back into scored questions that must give the same numbers."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from anomalyr1.metrics.mcq import ChoiceRecord
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS

# Questions per dataset: Anomaly Detection on normals and on anomalous images, then the other six.
QUESTIONS = {
    "DS-MVTec": (465, 1226, 1205, 1193, 1213, 1205, 464, 1367),
    "MVTec-LOCO": (573, 992, 982, 982, 974, 954, 544, 1623),
    "VisA": (943, 1198, 1190, 1197, 1190, 1163, 935, 2806),
    "GoodsAD": (1269, 1631, 1311, 1506, 1333, 1460, 1211, 3367),
}


@dataclass(frozen=True)
class PublishedTable:
    """One model's csv: `cells[dataset][column]` in percent."""

    name: str
    cells: dict[str, dict[str, float]]

    def shares(self, dataset: str) -> list[float]:
        """Accuracy on normals, on anomalous images, then the other six subtasks."""
        row = self.cells[dataset]
        anomalous = row["Recall"]
        normal = 2 * row[ANOMALY_DETECTION] - anomalous
        return [normal, anomalous, *(row[name] for name in SUBTASKS[1:])]


def published_tables(mmad: Path) -> list[PublishedTable]:
    """The tables in a folder of MMAD's files, in order of their names."""
    tables = []
    for path in sorted((mmad / "published_results").glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        cells = {row.pop(""): {name: float(value) for name, value in row.items()} for row in rows}
        name = path.stem.removeprefix("answers_").removesuffix("_accuracy")
        tables.append(PublishedTable(name, cells))
    return tables


def counts(share: float, questions: int) -> tuple[int, int]:
    """(correct, counted): the most questions, at most those asked, that give the share exactly.

    Raises:
        LookupError: none does.
    """
    for counted in range(questions, 0, -1):
        correct = round(share * counted / 100)
        if abs(100 * correct / counted - share) < 1e-9:
            return correct, counted
    raise LookupError


def synthesize(table: PublishedTable) -> tuple[list[ChoiceRecord], int]:
    """Records that score the table, and how many questions MMAD's scorer never counted.

    Where fewer questions were counted than asked, the rest goes to the end of the file: every other
    one unreadable, and the one after it stepped over.
    """
    records: list[ChoiceRecord] = []
    uncounted: list[ChoiceRecord] = []
    for dataset, asked in QUESTIONS.items():
        for column, (share, questions) in enumerate(zip(table.shares(dataset), asked, strict=True)):
            correct, counted = counts(share, questions)
            for index in range(questions):
                normal = column == 0 or (column > 5 and index % 2 == 0)
                kind = "good" if normal else "bad"
                record = ChoiceRecord(
                    image=f"{dataset}/product/test/{kind}/{index}.png",
                    dataset=dataset,
                    subtask=SUBTASKS[max(0, column - 1)],
                    normal=normal,
                    gold="A",
                    answer="A" if index < correct else "B",
                )
                (records if index < counted else uncounted).append(record)
    for index, record in enumerate(uncounted):
        answer = None if index % 2 == 0 else "A"
        records.append(
            ChoiceRecord(record.image, record.dataset, record.subtask, record.normal, "A", answer)
        )
    return records, len(uncounted)
