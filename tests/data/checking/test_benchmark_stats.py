import numpy as np
import pytest
from PIL import Image

from anomalyr1.data.checking.stats import describe, draw, tables
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError


@pytest.fixture(scope="module")
def bench(mvtec_benchmark):
    return load_benchmark(mvtec_benchmark)


def table(stats, title):
    return next(rows for name, _, rows in tables(stats) if name.startswith(title))


def test_counts(bench):
    stats = describe(bench)
    # 2 products of 2 good, 2 crack and 1 hole images
    assert ("MVTec-AD/bottle", "crack", 2) in table(stats, "Images")
    assert ("Anomaly Detection", 5, 5, 10) in table(stats, "Questions")
    assert ("Defect Localization", 3, 3, 6) in table(stats, "Questions")
    # every box is 12 x 12 of 48 x 48 pixels: 1/16
    assert stats.box_shares == (1 / 16,) * 6
    assert ("3% - 10%", 6) in table(stats, "Box area")
    two = [row for row in table(stats, "Gold letters") if row[0] == 2]
    assert sum(row[2] for row in two) == 10


def test_rows_over_budget_are_named(bench):
    tokens = {f"row{n}": 100 + n for n in range(40)}
    stats = describe(bench, tokens, budget=110)
    assert stats.over_budget[0] == ("row39", 139) and len(stats.over_budget) == 29
    assert table(stats, "Prompt tokens") == [(100, 120, 137, 139, 29, 110)]
    assert len(table(stats, "Rows over budget")) == 20


def test_the_picture(bench, tmp_path):
    draw(describe(bench, {"a": 10, "b": 20}, 15), tmp_path / "sub/stats.png")
    pixels = np.asarray(Image.open(tmp_path / "sub/stats.png"))
    assert pixels.shape[1] == 900 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3
    with pytest.raises(InputError, match=r"like stats\.png"):
        draw(describe(bench), tmp_path / "stats.unknown")
