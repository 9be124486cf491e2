"""The report in a browser: what a policy, a file name or a data set says stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import PROGRAM, Tab, browser
from commands import run_here
from hostile_completions import HTML, hostile_completions
from pictures import noise

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")

ATTACKS = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "</pre></blockquote></main><svg onload=window.hacked=1>",
    "\" onmouseover=window.hacked=1 autofocus onfocus=window.hacked=1 x=\"",
    "javascript:window.hacked=1",
    "<style>*{display:none}</style><base href=//evil.example><meta http-equiv=refresh content=0>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<form action=//evil.example><input name=x></form>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<!--", "]]>", "\ud800", "\u202e", "\0",
    *HTML,
]  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run whose every text is against the page."""
    folder = tmp_path_factory.mktemp("run")
    rows: list[dict[str, Any]] = []
    for number, text in enumerate([*ATTACKS, *hostile_completions(3, 60)]):
        name = "".join(c for c in ATTACKS[number % 8] if c not in "/\0\n")
        key = f"<b onclick=x>&/part/test/{name}/{number}.png"
        (folder / "images" / key).parent.mkdir(parents=True, exist_ok=True)
        noise(number, 40, 30).save(folder / "images" / key)
        rows.append(
            {
                "image": key,
                "question_index": 0,
                "question_type": "Anomaly Detection",
                "question": text[:500],
                "options": {"A": text[:500] or "Yes.", "B": ATTACKS[number % 10]},
                "answer": "A",
                "completion": f"<think>{text[:5_000]}</think><answer>{text[:5_000]}</answer>",
                "size": [40, 30],
                "frame": [40, 30],
                "gold_boxes": [[1, 2, 30, 20]],
                "gold_labels": [ATTACKS[number % 10]],
                "references": [key],
            }
        )
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "predictions.jsonl").write_text(lines, encoding="ascii")
    warning = {"step": 1, "kind": "x", "text": ATTACKS[0]}
    (folder / "warnings.jsonl").write_text(json.dumps(warning) + "\n")
    history = "".join(json.dumps({"step": n, "reward": n, ATTACKS[1]: n}) + "\n" for n in (1, 2, 3))
    (folder / "log_history.jsonl").write_text(history)
    (folder / "config.yaml").write_text(f"run_dir: {json.dumps(ATTACKS[2])}\n")
    return folder


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.screen(1200, 900)
        yield tab


def test_the_report_runs_nothing_and_asks_nobody(tab, run_dir):
    run_here("score", run_dir / "predictions.jsonl")
    run_here("report", run_dir, "--root", run_dir / "images")
    page = (run_dir / "report.html").as_uri()
    tab.events.clear()
    tab.open(page, "document.querySelector('#gallery')")
    assert tab.js("document.querySelectorAll('#gallery article').length") == 60
    tab.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.js("""for (const select of document.querySelectorAll("[data-facet]")) {
      for (const option of select.options) {
        select.value = option.value;
        select.dispatchEvent(new Event("change"));
      }
    }""")
    tab.js("document.querySelectorAll('[data-clear], [data-zoom]').forEach(b => b.click())")
    tab.js("document.querySelectorAll('*').forEach(e => e.dispatchEvent(new Event('mouseover')))")
    assert not tab.js("window.hacked")
    assert tab.js("document.querySelectorAll('script').length") == 1
    names = "iframe, form, base, link, object, embed, [onerror], [onload], [onclick], [onfocus]"
    assert tab.js(f"document.querySelectorAll({names!r}).length") == 0
    assert tab.js("document.body.innerText").count(ATTACKS[0]) >= 1
    assert tab.js("getComputedStyle(document.querySelector('main')).display") != "none"
    assert tab.complaints() == []
    asked = [e["params"]["request"]["url"] for e in tab.events if "request" in e.get("params", {})]
    assert [url for url in asked if not url.startswith(("data:", page))] == []


def test_the_policy_holds_where_a_page_is_written_into(tab, run_dir):
    """Were a text not escaped, the page's own policy would stop it."""
    run_here("report", run_dir, "--root", run_dir / "images", "--out", run_dir / "open.html")
    text = (run_dir / "open.html").read_text(encoding="utf-8")
    attacks = "".join(ATTACKS[:4]) + "<img src=http://127.0.0.1:9/x>"
    (run_dir / "open.html").write_text(text.replace("<main>", f"<main>{attacks}"))
    tab.events.clear()
    tab.open((run_dir / "open.html").as_uri(), "document.querySelector('main')")
    tab.until("true")
    assert not tab.js("window.hacked")
    said = " ".join(tab.complaints())
    assert "script-src" in said and "img-src" in said and "Content Security Policy" in said
