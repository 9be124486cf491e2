"""Many runs on one page and in one CSV: their order, what is text, what the page's script does."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from chromium import PROGRAM, browser
from evaluation_data import letter, question, write

from anomalyr1.evaluation.report.leaderboard_page import write_leaderboard
from anomalyr1.evaluation.score import score
from anomalyr1.evaluation.standings import read_metrics, standings
from anomalyr1.storage import read_json, write_json
from tests.commands import run_here
from tests.evaluation.report.test_report_page import HOSTILE, Page
from tests.evaluation.test_published_figures import mmad_run


def a_run(folder: Path, right: int, **card: object) -> Path:
    """Eight images, the first `right` answered rightly, with such a card."""
    answers = [letter("AB"[(n % 2 == 0) ^ (n >= right)]) for n in range(8)]
    made = [question(str(n), 0, text, normal=n % 2 == 0) for n, text in enumerate(answers)]
    file = write(folder / "predictions.jsonl", made)
    write_json(folder / "predictions.settings.json", {"benchmark_sha256": "ab", **card})
    score(file)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of one benchmark, one of MMAD, and one whose card is hostile."""
    root = tmp_path_factory.mktemp("runs")
    hostile = a_run(root / "hostile", 2, template=HOSTILE, policy={"path": f"={HOSTILE}", "x": {}})
    good, bad = (a_run(root / name, n, references=n) for name, n in (("good", 8), ("bad", 4)))
    score(mmad_run(root / "mmad", ["VisA"]))
    return [bad, good, hostile, root / "mmad"]


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_rows_are_sorted_within_a_benchmark_and_complete(runs: list[Path]) -> None:
    named = [(folder.name, metrics) for folder, metrics in read_metrics(runs)]
    strict = standings(named, "strict")
    drawn = [row for row in strict if row.benchmark.startswith("Drawn: 8 questions")]
    assert [(row.name, row.kind, row.cells.get("Average")) for row in drawn] == [
        ("good", "run", 100),
        ("always yes", "blind", 50),
        ("bad", "run", 50),
        ("longest option", "blind", 50),
        ("majority letter", "blind", 50),
        ("random", "blind", 50),
        ("hostile", "run", 25),
    ]
    visa = [row for row in standings(named, "compat") if row.benchmark.startswith("VisA")]
    assert sum(row.kind == "published" for row in visa) == 22
    [qwen] = [row for row in visa if row.name == "Qwen2.5-VL-7B-Instruct"]
    assert qwen.cells["Average"] == 70.59
    assert qwen.settings == {"shots": 1, "template": "mmad", "reasoning": False, "scorer": "compat"}
    assert not any(row.kind == "published" for row in strict)  # counted under compat
    for accounting in ("strict", "compat"):
        ours = [row for row in standings(named, accounting) if row.kind == "run"]
        assert {row.settings["scorer"] for row in ours} == {accounting}


def test_the_csv_holds_both_accountings_and_the_cards(runs: list[Path], tmp_path: Path) -> None:
    page, table = write_leaderboard(runs, tmp_path / "board.html")
    found = rows(table)
    [bad] = [row for row in found if (row["name"], row["accounting"]) == ("bad", "strict")]
    metrics = read_json(runs[0] / "metrics.json")
    assert float(bad["Average"]) == metrics["macro"]["strict"] == 50
    assert float(bad["Average low"]) == metrics["intervals"]["macro"]["strict"][0]
    assert bad["card references"] == "4" and bad["card policy.path"] == ""
    hostile = next(row for row in found if row["name"] == "hostile")
    assert hostile["source"] == hostile["card policy.path"] == f"'={HOSTILE}"  # no formula
    assert page == tmp_path / "board.html"


def test_hostile_text_is_text_and_the_page_loads_nothing(runs: list[Path], tmp_path: Path) -> None:
    path, _ = write_leaderboard(runs, tmp_path / "board.html")
    text = path.read_text("utf-8")
    page = Page(text)
    assert HOSTILE in page.text and len(page.all("script")) == 1 and not page.all("img")
    assert not re.search(r"<(link|iframe|object|base)|url\(|@import", text)
    assert all(button.get("type") == "button" for button in page.all("button"))
    assert "references" in page.text and "not known" in page.text
    assert len(page.all("tr", "unlike")) == 4  # references, template, policy.path, policy.x


def test_the_verb_writes_both_files_and_names_what_is_no_run(
    runs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "board.html"
    said = run_here("leaderboard", runs[0], runs[1] / "metrics.json", "--out", out)
    assert f"wrote {out} and {tmp_path / 'board.csv'}" in said
    named = {row["name"] for row in rows(tmp_path / "board.csv")}
    assert {"good", "bad", "random"} <= named
    (tmp_path / "metrics.json").write_text('{"mmad": 3}')
    said = run_here("leaderboard", tmp_path, tmp_path / "none", "--out", out, status=2)
    assert f"another form in {tmp_path / 'metrics.json'} (predictions, mmad, overkill_miss" in said
    assert "found no such file" in said and "run it on them again" in said
    assert "NAME.html" in run_here("leaderboard", runs[0], "--out", tmp_path / "x.csv", status=2)


ORDER = """[...document.querySelectorAll("#strict tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.cells[0].dataset.value)"""


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_it_sorts_and_filters_by_keyboard_without_an_error(
    runs: list[Path], tmp_path: Path
) -> None:
    path, _ = write_leaderboard(runs, tmp_path / "board.html")
    with browser(tmp_path / "profile") as tab:
        tab.open(path.as_uri(), "document.querySelector('.board')")

        def sorted_by(column: str) -> list[str]:
            heads = "[...document.querySelectorAll('#strict thead button')]"
            button = f"{heads}.find((head) => head.innerText == '{column}')"
            for _ in range(80):
                if tab.js(f"document.activeElement === {button}"):
                    break
                tab.press("Tab", 9)
            tab.press("Enter", 13, "\r")
            return tab.js(ORDER)

        assert sorted_by("Name")[0] == "always yes"  # from A
        first, last = sorted_by("Average"), sorted_by("Average")
        assert (first[0], last[0]) == ("good", "hostile")
        assert first[-1] == last[-1] == "always yes"  # of the run that asks more: no average
        assert tab.js("document.querySelector('#strict th[aria-sort]').ariaSort") == "ascending"
        tab.js("document.querySelector('[data-kind=blind]').click()")
        assert set(tab.js(ORDER)) == {"good", "bad", "hostile", "mmad"}
        tab.js("""{ const select = document.getElementById("benchmark");
          select.value = [...select.options].find((o) => o.value.startsWith("VisA")).value;
          select.dispatchEvent(new Event("change")); }""")
        assert tab.js(ORDER) == ["mmad"]
        wrong = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        assert [e for e in tab.events if e.get("method") in wrong] == []
        asked = [
            e["params"]["request"]["url"] for e in tab.events if "request" in e.get("params", {})
        ]
        assert asked == [path.as_uri()]
