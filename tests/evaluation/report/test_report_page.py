"""report.html: self-contained, escaped, and written from whatever files a run has."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import (
    DEFECT,
    boxes,
    completion,
    draw,
    letter,
    question,
    to_frame,
    write,
)

from anomalyr1.errors import InputError
from anomalyr1.evaluation.image_readings import readings_of
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.report.charts import smooth
from anomalyr1.evaluation.report.curves import Training, training_charts
from anomalyr1.evaluation.report.difference import macro_difference
from anomalyr1.evaluation.report.markup import Markup, escape, join, tag
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.report.plot_frame import ticks
from anomalyr1.metrics.significance import Discordance
from anomalyr1.schema import GROUNDING, Prediction
from anomalyr1.storage import write_json, write_jsonl

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</pre></details>"
VOID = {"img", "input", "meta", "br", "hr", "wbr"}


class Page(HTMLParser):
    """Checks that every element is closed, and gathers tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data

    def all(self, name: str, class_: str | None = None) -> list[dict[str, str | None]]:
        return [
            attributes
            for tag, attributes in self.tags
            if tag == name and (class_ is None or class_ in (attributes.get("class") or "").split())
        ]


def predictions(answer: str = "A") -> list[Prediction]:
    return [
        question("1", 0, letter("A"), mask=True),
        question("1", 1, boxes(to_frame(DEFECT)), type=GROUNDING, mask=True),
        question("2", 0, letter("B", conclusion="A"), mask=True),
        question("2", 1, boxes(), type=GROUNDING, mask=True),
        question("3", 0, letter(answer), normal=True),
        question("3", 1, boxes(), type=GROUNDING, normal=True),
        question("4", 0, HOSTILE, normal=True),
        question("4", 1, completion(HOSTILE, HOSTILE), type=GROUNDING, normal=True),
    ]


HISTORY = [
    {
        "step": step,
        "reward": 1 + step / 50,
        "loss": 0.1,
        "rewards/format/mean": 0.9,
        "rewards/accuracy/mean": 0.5,
        "kl": 0.01 * step,
        "outcome/aligned_correct": 0.6,
        "outcome/malformed": 0.4,
        "entropy": None,
    }
    for step in range(1, 31)
]


def full_run(folder: Path) -> Path:
    """A run with every file, and a `before` beside it."""
    data, run = folder / "data", folder / "run"
    draw(data, predictions())
    write(run / "predictions.jsonl", predictions())
    write(run / "before" / "predictions.jsonl", predictions("B"))
    make_masks(run / "predictions.jsonl", data, "box")
    write_jsonl(run / "log_history.jsonl", HISTORY)
    (run / "config.yaml").write_text("seed: 0  # <b>\n", encoding="utf-8")
    entry = {"verb": "eval", "command": f"anomalyr1 eval {HOSTILE}", "data": {"root": str(data)}}
    write_json(run / "provenance.json", {"runs": [{**entry, "seed": 3, "commit": "abc123"}]})
    return run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = full_run(tmp_path_factory.mktemp("report"))
    assert write_report([run]) == run / "report.html"
    return (run / "report.html").read_text(encoding="utf-8")


def test_every_section_is_there(text: str) -> None:
    page = Page(text)
    names = [attributes["id"] for attributes in page.all("section")]
    assert names == [
        "accuracy", "comparison", "outcomes", "localization", "training", "gallery-section",
        "origin",
    ]  # fmt: skip
    for shown in ("Strict accuracy", "25.0", "Compat accuracy", "Box F1", "Mask IoU", "abc123"):
        assert shown in page.text, shown
    assert len(page.all("article", "card")) == 4


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), value
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes
    assert not re.search(r"@import|url\(|https?://", text)


def test_the_policy_allows_this_script_and_style_only(text: str) -> None:
    page = Page(text)
    [policy] = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policy is not None and "default-src 'none'" in policy and "unsafe" not in policy
    for name in ("script", "style"):
        [content] = re.findall(rf"<{name}>(.*?)</{name}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_hostile_text_is_shown_not_run(text: str) -> None:
    page = Page(text)
    assert text.count("<script") == 1 and "<img src=x" not in text
    assert page.text.count(HOSTILE) >= 3  # raw completion, reasoning, command


def test_gallery_marks_what_happened(text: str) -> None:
    page = Page(text)
    badges = [span["class"] for span in page.all("span", "badge")]
    assert {name: badges.count(f"badge {name}") for name in ("contradictory", "malformed")} == {
        "contradictory": 1, "malformed": 1,
    }  # fmt: skip
    assert (badges.count("badge wrong"), badges.count("badge right")) == (3, 1)
    assert len(page.all("rect", "gold-box")) == 2
    assert len(page.all("rect", "predicted-box")) == 1
    assert len(page.all("img", "predicted-mask")) == 4 and len(page.all("img", "gold-mask")) == 2
    assert len([i for i in page.all("img") if (i.get("alt") or "").startswith("reference")]) == 4
    assert "before: B (right)" in page.text


@pytest.mark.parametrize("most", [0, 1, 3])
def test_gallery_is_capped_and_shows_rare_kinds_first(tmp_path: Path, most: int) -> None:
    data = tmp_path / "data"
    plain = [question(str(i), 0, letter("A")) for i in range(9)]
    odd = [question("odd", 0, letter("B", conclusion="A"))]
    draw(data, plain + odd)
    write(tmp_path / "run" / "predictions.jsonl", plain + odd)
    page = Page(write_report([tmp_path / "run"], gallery=most, root=data).read_text("utf-8"))
    assert len(page.all("article", "card")) == most
    if most > 1:
        assert "Drawn/part/test/dent/odd.png" in page.text


def test_training_alone_and_predictions_alone(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "sft" / "log_history.jsonl", HISTORY)
    page = Page(write_report([tmp_path / "sft"]).read_text("utf-8"))
    assert [section["id"] for section in page.all("section")] == ["training", "origin"]
    write(tmp_path / "eval" / "predictions.jsonl", predictions())
    page = Page(write_report([tmp_path / "eval"]).read_text("utf-8"))
    assert "training" not in [section["id"] for section in page.all("section")]
    assert "image not found" in page.text  # no provenance and no --root


WARNINGS = [
    {"step": 12, "since": 9, "kind": "kl", "key": "kl", "follows": None, "text": f"far {HOSTILE}"},
    {"step": 14, "since": 10, "kind": "letter", "key": "letter/B", "follows": "kl", "text": "B"},
    {"step": 15, "key": "letter/B", "text": None},  # whatever a file holds
]


def test_warnings_stand_over_the_curves_that_show_them(tmp_path: Path) -> None:
    rows = [{**row, "letter/A": 0.4, "letter/B": 0.6} for row in HISTORY]
    for name, warnings in (("warned", WARNINGS), ("calm", [])):
        write_jsonl(tmp_path / name / "log_history.jsonl", rows)
        if warnings:
            write_jsonl(tmp_path / name / "warnings.jsonl", warnings)
    text = write_report([tmp_path / "warned"]).read_text("utf-8")
    page, charts = Page(text), dict(re.findall(r"<figcaption>([^<]+).*?<svg(.*?)</svg>", text))
    assert f"far {HOSTILE}" in page.text and len(page.all("p", "warning")) == 3
    marked = {title: chart.count('class="mark"') for title, chart in charts.items()}
    assert {title for title, marks in marked.items() if marks} == {
        "KL to the reference policy", "Letters answered",
    }  # fmt: skip
    [x] = re.findall(r'<line x1="([\d.]+)"[^>]*class="mark"', charts["Letters answered"])
    left, right = 46, 420 - 12  # the frame of a chart, steps 1 to 30
    assert float(x) == pytest.approx(left + (10 - 1) / 29 * (right - left), abs=0.06)
    page = Page(write_report([tmp_path / "calm"]).read_text("utf-8"))
    assert not page.all("p", "warning") and not page.all("line", "mark")
    out = tmp_path / "both.html"
    page = Page(write_report([tmp_path / "calm", tmp_path / "warned"], out).read_text("utf-8"))
    assert "warned: B" in page.text and len(page.all("line", "mark")) == 1  # letters: of the first


def test_several_runs_are_compared_in_pairs(tmp_path: Path) -> None:
    for name, answer in (("first", "B"), ("second", "A")):
        write(tmp_path / name / "predictions.jsonl", predictions(answer))
    out = tmp_path / "report.html"
    page = Page(write_report([tmp_path / "first", tmp_path / "second"], out).read_text("utf-8"))
    assert "1 / 0p 1" in page.text and "+25.0" in page.text and "second: A (wrong)" in page.text


def test_paired_difference_is_exact_and_certain_where_runs_agree() -> None:
    def run(wrong: int) -> list[Any]:
        return readings_of(
            question(str(i), 0, letter("B" if i < wrong else "A")) for i in range(20)
        )

    same, none = macro_difference(run(5), run(5)) or (None, None)
    assert same is not None and (same.value, same.ends) == (0.0, (0.0, 0.0))
    assert none == Discordance(0, 0, 1.0)
    better, images = macro_difference(run(10), run(5)[::-1]) or (None, None)  # in any order
    assert better is not None and better.value == 25.0 and better.questions == 20
    assert images == Discordance(5, 0, 2 / 32)
    assert better.ends is not None and 0 < better.ends[0] < 25 < better.ends[1]
    assert macro_difference(run(5), []) is None


@pytest.mark.parametrize("kind", ["absent", "empty"])
def test_nothing_to_report_is_an_input_error(tmp_path: Path, kind: str) -> None:
    if kind == "empty":
        (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="expected"):
        write_report([tmp_path / "run"])


def test_images_outside_the_root_are_not_shown(tmp_path: Path) -> None:
    """A link inside the data root that leads out of it is not followed."""
    inside = question("1", 0, letter("A"))
    draw(tmp_path / "secret", [inside])
    link = tmp_path / "data" / inside.image
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "secret" / inside.image)
    write(tmp_path / "run" / "predictions.jsonl", [inside])
    path = write_report([tmp_path / "run"], root=tmp_path / "data")
    assert "image not found" in Page(path.read_text("utf-8")).text


def test_charts_need_two_points_and_finite_numbers() -> None:
    assert training_charts([Training("run", [{"step": 1, "loss": 1.0}])]) == []
    flat = [{"step": step, "loss": 0.0} for step in range(4)]
    [chart] = training_charts([Training("run", flat)])
    assert not re.search(r"\b(nan|inf)\b", chart)


def test_a_constant_of_any_size_is_drawn_at_its_size() -> None:
    rate = [{"step": step, "learning_rate": 1e-4} for step in range(4)]
    [chart] = training_charts([Training("run", rate)])
    numbers = [float(text) for text in re.findall(r'text-anchor="end"[^>]*>([-\d.e]+)<', chart)]
    assert numbers and all(0 < number < 2e-4 for number in numbers)


def test_chart_arithmetic() -> None:
    assert ticks(0, 100) == [0, 25, 50, 75, 100]
    assert ticks(-0.013, 0.031) == pytest.approx([-0.01, 0.0, 0.01, 0.02, 0.03])
    line = np.arange(40.0)
    assert smooth(line)[10:30] == pytest.approx(line[10:30])  # no lag


def test_markup_escapes_by_default() -> None:
    inner = tag("b", HOSTILE)
    assert "<script" not in inner and inner.startswith("<b>")
    assert tag("p", inner, None, "<") == f"<p>{inner}&lt;</p>"
    assert tag("p", f"{inner}").startswith("<p>&lt;b&gt;")  # an f-string is plain text again
    assert tag("i", title='"<') == '<i title="&quot;&lt;"></i>'
    assert escape(Markup("<b>")) == "<b>" and join(["<", ">"], ",") == "&lt;,&gt;"
