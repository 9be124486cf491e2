"""A table wider than a phone says that there is more of it, and is scrolled by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import PROGRAM, Tab, browser
from evaluation_data import boxes, letter, question, write
from PIL import Image
from test_report_page import Page

from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import GROUNDING

WIDE = """[...document.querySelectorAll(".scroll")]
  .find((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 100)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    asked = [question("1", 0, letter("A")), question("2", 0, letter("B"), normal=True)]
    asked.append(question("1", 1, boxes(), type=GROUNDING))
    score(write(run / "predictions.jsonl", asked), resamples=10)
    return write_report([run])


def test_every_part_that_scrolls_has_a_name_and_takes_the_focus(page: Path) -> None:
    parts = Page(page.read_text("utf-8")).all("div", "scroll")
    assert len(parts) > 3
    assert all(part["role"] == "region" and part["tabindex"] == "0" for part in parts)
    assert all(part["aria-label"] for part in parts)


def edges(tab: Tab, file: Path) -> tuple[float, float]:
    """How dark the first and the last columns of pixels of the wide part are, 0 to 255."""
    box = tab.js(f"(({WIDE}).getBoundingClientRect().toJSON())")
    tab.picture(file, whole=False)
    with Image.open(file) as picture:
        grey = picture.convert("L")
    bottom = int(min(box["bottom"], grey.height)) - 2  # below the last line of text
    ends = (int(box["left"]) + 1, int(box["right"]) - 2)
    left, right = (255 - float(grey.getpixel((x, bottom))) for x in ends)
    return left, right


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_a_shadow_stands_where_there_is_more(page: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as tab:
        tab.screen(390, 844, phone=True)
        tab.open(page.as_uri(), WIDE)
        assert tab.js("document.documentElement.scrollWidth") == 390  # the page itself does not
        tab.js(f"({WIDE}).scrollIntoView({{ behavior: 'instant', block: 'center' }})")
        left, right = edges(tab, tmp_path / "begin.png")
        assert right > left + 30
        tab.js(f"({WIDE}).focus()")
        for _ in range(60):
            tab.press("ArrowRight", 39)
            if tab.js(f"({WIDE}).scrollLeft + ({WIDE}).clientWidth >= ({WIDE}).scrollWidth - 1"):
                break
        tab.until(f"({WIDE}).scrollLeft + ({WIDE}).clientWidth >= ({WIDE}).scrollWidth - 1", 10)
        assert edges(tab, tmp_path / "end.png")[1] < right - 30
        names = f"({WIDE}).querySelector('tbody th').getBoundingClientRect().left"
        assert tab.js(names) == tab.js(f"({WIDE}).getBoundingClientRect().left")
        assert tab.complaints() == []
