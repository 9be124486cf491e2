"""The charts of P(anomalous): each mark where its number says, and the numbers in words."""

from __future__ import annotations

import re

import pytest

from anomalyr1.evaluation.report.score_charts import score_charts
from anomalyr1.metrics.score_curves import Scored, score_measures
from tests.evaluation.report.test_report_page import HOSTILE, Page

LEFT, RIGHT, FOOT = 46, 420 - 12, 220 - 30  # the frame of a chart


def measured(dataset: str = "d", normal: int = 4, anomalous: int = 4) -> list[Scored]:
    """Three quarters of each class at 0.1 and 0.7 as they should be, the others the other way."""
    made = []
    for number in range(normal + anomalous):
        of_class, size = (number, normal) if number < normal else (number - normal, anomalous)
        right = of_class < 0.75 * size
        score = 0.1 if right == (number < normal) else 0.7
        made.append(Scored(f"{dataset}/{number}", dataset, number < normal, score))
    return made


def test_dots_bars_and_counts_of_a_reliability_diagram() -> None:
    chart = score_charts({"reasoning": score_measures(measured(), resamples=20)}) or ""
    reliability, trade_off = chart.split("<figure")[1:]
    page = Page(f"<figure{reliability.removesuffix('</div>')}")
    at = [(float(dot["cx"] or 0), float(dot["cy"] or 0)) for dot in page.all("circle")]
    top = 10 + 16 + 14
    expected = [
        (LEFT + share * (RIGHT - LEFT), FOOT - anomalous * (FOOT - top))
        for share, anomalous in ((0.1, 0.25), (0.7, 0.75))
    ]
    assert [axis for dot in at for axis in dot] == pytest.approx(
        [axis for dot in expected for axis in dot], abs=0.06
    )
    assert len(page.all("rect", "count")) == 2 and len(page.all("line", "whisker")) == 2
    assert re.findall(rf'y="{top - 6:.1f}" class="tick" text-anchor="middle">(\d+)<', chart) == (
        ["4", "4"]
    )
    # Bins at 0.1 and 0.7: |0.25 - 0.1| and |0.75 - 0.7|, half of the images each.
    assert "ECE\u00a010.0\u00a0%" in page.text
    [drawing] = page.all("svg")
    assert drawing["role"] == "img" and "ECE\u00a010.0" in (drawing["aria-label"] or "")
    assert len(page.all("th")) == 4 + 15 and "Mean P(anomalous)" in page.text
    ring = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="6" class="dot ring', trade_off)
    # Above every normal score there is no alarm: overkill 0, miss 100.
    assert ring is not None and [float(n) for n in ring.groups()] == pytest.approx([LEFT, 26])
    assert "miss at an overkill at most 5 %: after reasoning 100.0 %" in trade_off


def test_data_sets_have_a_line_each_and_their_names_are_text() -> None:
    name = HOSTILE.replace("/", "")
    found = score_measures([*measured("a"), *measured(name)], resamples=20)
    chart = score_charts({"reasoning": found, "at_once": found}) or ""
    page = Page(chart)
    assert len(page.all("figure")) == 2 + 1 + 2
    assert len(page.all("path", "line")) == 2 + 2 * 2
    assert name in page.text and "<script" not in chart


def test_one_class_has_a_diagram_and_no_curve_and_nothing_has_none() -> None:
    alone = score_measures(measured(anomalous=0), resamples=20)
    assert len(Page(score_charts({"at_once": alone}) or "").all("figure")) == 1
    [one] = measured(normal=1, anomalous=0)
    chart = score_charts({"at_once": score_measures([one])}) or ""
    assert not re.search(r"\b(nan|inf|None)\b", chart) and "whisker" not in chart
    assert score_charts({"at_once": score_measures([])}) is None
