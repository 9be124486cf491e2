"""The gallery's filters and the lists that lead into it, as a person without a mouse uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import PROGRAM, Tab, browser
from evaluation_data import DEFECT, boxes, letter, question, to_frame, write

from anomalyr1.evaluation.image_readings import readings_of
from anomalyr1.evaluation.report.facets import filters, image_facets, question_facets
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.right_answers import changes
from anomalyr1.schema import GROUNDING, Prediction
from tests.evaluation.report.test_report_page import HOSTILE, Page

CLASSES = "Object Classification"


def predictions(third: str = "A", fourth: str = "B") -> list[Prediction]:
    """Six images of two data sets, ten questions; two answers are the caller's."""
    return [
        question("1", 0, letter("A")),
        question("1", 1, boxes(to_frame(DEFECT)), type=GROUNDING),
        question("2", 0, letter("B", conclusion="A")),
        question("2", 1, boxes(), type=GROUNDING),
        question("3", 0, letter(third), normal=True),
        question("3", 1, boxes(), type=GROUNDING, normal=True),
        question("4", 0, letter(fourth), normal=True, dataset=HOSTILE.replace("/", "")),
        question("5", 0, HOSTILE, normal=True),
        question("6", 0, letter("A"), type=CLASSES, dataset="Other"),
        question("6", 1, letter("B"), type=CLASSES, dataset="Other", template="mmad"),
    ]


def test_the_values_of_a_question_are_those_of_the_field() -> None:
    found = [question_facets(reading, None) for reading in readings_of(predictions())]
    assert [facets.get("verdict") for facets in found] == [
        "anomalous", "anomalous", "normal", "normal", "anomalous", "normal", "normal", "none read",
        None, None,
    ]  # fmt: skip
    assert [facets.get("answer") for facets in found] == [
        "right", "right", "wrong", "wrong", "wrong", "right", "right", "unreadable", "right",
        "wrong",
    ]  # fmt: skip
    assert [facets.get("outcome") for facets in found] == [
        "aligned correct", "aligned correct", "contradictory", "aligned wrong", "aligned wrong",
        "aligned correct", "aligned correct", "malformed", "aligned correct", None,
    ]  # fmt: skip
    first, normal = (readings_of(predictions())[n] for n in (0, 4))
    of_both = {"dataset": "Drawn", "category": "part"}
    assert image_facets(first) == {**of_both, "image": "anomalous", "defect": "dent"}
    assert image_facets(normal) == {**of_both, "image": "normal"}
    assert question_facets(first, "fixed")["change"] == "fixed"


def test_a_facet_of_one_value_is_no_choice() -> None:
    [reading] = readings_of(predictions()[:1])
    one = (image_facets(reading), [question_facets(reading, None)])
    assert filters([one], None) is None
    changed = (image_facets(reading), [question_facets(reading, "fixed")])
    shown = filters([one, changed], "before") or ""
    assert re.findall(r"<span>(.*?)</span>", shown) == ["Against before"]


def test_what_changed_is_told_where_both_have_gold() -> None:
    first, second = (readings_of(predictions(*answers)) for answers in (("A", "B"), ("B", "A")))
    found = changes(first, second[::-1])
    assert [[image for image, _ in keys] for keys in (found.fixed, found.broken)] == [
        [predictions()[4].image], [predictions()[6].image],
    ]  # fmt: skip
    assert found.shared == 10
    unknown = readings_of([replace(predictions()[1], gold_boxes=None)])
    assert changes(first, []).shared == changes(unknown, unknown).shared == 0


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which one answer was fixed and one broken."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "after" / "predictions.jsonl", predictions("B", "A"))
    write(folder / "before" / "predictions.jsonl", predictions())
    return write_report([folder / "after", folder / "before"], folder / "page.html")


def test_the_lists_lead_to_the_gallery_and_say_what_they_leave_out(
    page: Path, tmp_path: Path
) -> None:
    parsed = Page(page.read_text("utf-8"))
    assert "1 answer fixed against before" in parsed.text
    assert "1 answer broken against before" in parsed.text
    ids = [found["id"] for found in parsed.all("details", "answer")]
    links = [a["href"] for a in parsed.all("a") if (a["href"] or "").startswith("#question")]
    assert len(links) == 2 and {link[1:] for link in links if link} <= set(ids)
    many = {n: [question(str(i), 0, letter(n)) for i in range(70)] for n in "AB"}
    for name, made in many.items():
        write(tmp_path / name / "predictions.jsonl", made)
    file = write_report([tmp_path / "A", tmp_path / "B"], tmp_path / "many.html", gallery=5)
    parsed = Page(file.read_text("utf-8"))
    assert "70 answers fixed against B, 50 of them listed" in parsed.text
    links = [a["href"] for a in parsed.all("a") if (a["href"] or "").startswith("#question")]
    assert links == [f"#question-{n}-0" for n in range(5)]
    assert "5 of 5 images" in parsed.text and "the run has 70 images and 70" in parsed.text


SHOWN = """[...document.querySelectorAll("#gallery .answer")]
  .filter((answer) => answer.checkVisibility()).map((answer) => answer.id)"""
STATE = "document.querySelector('output').textContent"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if PROGRAM is None:
        pytest.skip("needs Chromium")
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.screen(1200, 900)
        yield tab


def reach(tab: Tab, element: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        if tab.js(f"document.activeElement === {element}"):
            return
        tab.press("Tab", 9)
    raise AssertionError(element)


def test_filters_are_set_by_keyboard_and_say_what_is_shown(tab: Tab, page: Path) -> None:
    tab.events.clear()
    tab.open(page.as_uri(), "document.querySelector('#gallery')")
    assert tab.js(STATE) == "6 of 6 images and 10 of 10 questions shown"
    reach(tab, "document.querySelector('[data-facet=answer]')")
    tab.press("u", 85, "u")
    assert tab.js("document.activeElement.value") == "unreadable"
    assert len(tab.js(SHOWN)) == 1
    assert tab.js(STATE) == "1 of 6 images and 1 of 10 questions shown (Answer: unreadable)"
    tab.press("ArrowDown", 40)
    assert tab.js("document.activeElement.value") == "wrong"
    assert tab.js(STATE).startswith("3 of 6 images and 4 of 10 questions")
    # The counts of the other choices follow, its own stay.
    said = "[...document.querySelector('[data-facet={}]').options].map((o) => o.textContent)"
    assert tab.js(said.format("image")) == ["all", "anomalous (2)", "normal (1)"]
    assert tab.js(said.format("answer")) == ["all", "right (3)", "unreadable (1)", "wrong (3)"]
    reach(tab, "document.querySelector('[data-clear]')")
    tab.press("Enter", 13, "\r")
    assert tab.js(STATE) == "6 of 6 images and 10 of 10 questions shown"
    assert tab.js("document.activeElement.dataset.facet") == "dataset"
    hostile = HOSTILE.replace("/", "")
    tab.js(f"""{{ const select = document.activeElement;
      select.value = {hostile!r}; select.dispatchEvent(new Event("change")); }}""")
    assert len(tab.js(SHOWN)) == 1 and hostile in tab.js(STATE)
    assert tab.complaints() == []


def test_a_link_leads_to_its_answer_though_it_is_filtered_away(tab: Tab, page: Path) -> None:
    tab.open(page.as_uri(), "document.querySelector('#gallery')")
    tab.js("""{ const select = document.querySelector("[data-facet=answer]");
      select.value = "unreadable"; select.dispatchEvent(new Event("change")); }""")
    reach(tab, "document.querySelector('.changed summary')")
    tab.press("Enter", 13, "\r")
    reach(tab, "document.querySelector('.changed a')")
    tab.press("Enter", 13, "\r")
    name = tab.js("location.hash.slice(1)")
    tab.until(f"document.getElementById({name!r}).open")
    assert name in tab.js(SHOWN) and len(tab.js(SHOWN)) == 10
    assert tab.js(f"document.getElementById({name!r}).dataset.change") == "fixed"
    assert tab.complaints() == []
