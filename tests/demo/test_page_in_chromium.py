"""The page as a person meets it, in Chromium: upload, answer, faults, hostile text, phone, dark.

The tests with a tab are one visit, in their order.
"""

from __future__ import annotations

import io
import json
import socket
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest
from chromium import PROGRAM, browser
from pictures import noise
from PIL import Image

from anomalyr1.schema import Box
from anomalyr1.segmentation.overlay import png_bytes

pytest.importorskip("gradio", reason="needs the extra `demo`")
chromium = pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")

HACK = "<img src=x onerror=window.hacked=1>"
HOSTILE = f"{HACK}<script>window.hacked=1</script> **bold** ${{window.hacked=1}} {{{{value}}}}"
CLICK = "document.querySelector('{}').click()"
TEXT = "document.body.innerText"


class Hostile:
    """The inspector, but the policy has written something against the page."""

    pause = 0.0  # after every piece of text, in seconds
    left = False  # whether it was ended while it wrote

    def __init__(self, inspector) -> None:
        self._inspector = inspector

    def __getattr__(self, name):
        return getattr(self._inspector, name)

    def inspect_many(self, *args, on_text, **options):
        def tell(_: str) -> None:
            try:
                on_text(HOSTILE)
            except BaseException:
                Hostile.left = True
                raise
            time.sleep(self.pause)

        found = self._inspector.inspect_many(*args, on_text=tell, **options)
        mask = np.zeros(found[0].image.size[::-1], bool)
        mask[20:60, 20:60] = True
        boxes = (Box(20, 20, 60, 60, HACK),)
        said = {"completion": HOSTILE, "reasoning": HOSTILE, "defect_type": HACK}
        return [replace(one, boxes=boxes, mask=mask, **said) for one in found]


@pytest.fixture(scope="module")
def address(inspector, tmp_path_factory):
    """Of a page that is served with a small benchmark of examples."""
    from anomalyr1.demo.inspect_request import Desk
    from anomalyr1.demo.serving import served
    from anomalyr1.demo.shown_examples import draw_benchmark, read_examples
    from anomalyr1.demo.upload_limits import Limits

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    examples = read_examples(draw_benchmark(tmp_path_factory.mktemp("drawn") / "b"))
    desk = Desk(Hostile(inspector), examples, Limits(megabytes=1, waiting=2))
    with served(desk, "127.0.0.1", port) as (_, url):
        yield url


@pytest.fixture(scope="module")
def tab(address, tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        tab.screen(1200, 900)
        tab.open(address, "document.querySelectorAll('#examples img').length == 8")
        yield tab


def test_what_is_served_is_guarded(address):
    page = httpx.get(address)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert httpx.get(f"{address}gradio_api/file=/etc/passwd").status_code == 403
    assert (
        httpx.get(f"{address}docs").status_code == httpx.get(f"{address}openapi.json").status_code
    )
    large = {"files": ("a.png", b"\0" * 1_200_000)}
    assert httpx.post(f"{address}gradio_api/upload", files=large).status_code == 413


@chromium
def test_an_example_is_inspected_by_keyboard(tab):
    def to(selector: str) -> None:
        for _ in range(80):
            if tab.js(f"document.activeElement.matches({selector!r})"):
                return
            tab.press("Tab", 9)
        raise AssertionError(f"no way to {selector} by keyboard")

    to("#examples button")
    tab.press("Enter", 13, "\r")
    tab.until("document.querySelector('#picture img')")
    tab.js("document.querySelector('#image input, #image button').focus()")
    to("#inspect")
    tab.press("Enter", 13, "\r")
    tab.until("document.querySelector('#verdict strong')")
    tab.until("document.querySelectorAll('#past img').length == 1")
    assert tab.js("document.querySelector('#verdict strong').innerText").lower() in (
        "normal",
        "anomalous",
    )
    assert tab.js("document.querySelectorAll('#beside img').length") >= 1


@chromium
def test_a_broken_file_is_told_on_the_page(tab, tmp_path):
    file = tmp_path / f"{HACK}.png"
    file.write_bytes(b"\x89PNG broken")
    tab.js(CLICK.format("#image [aria-label=Clear]"))
    tab.until("document.querySelector('#image input[type=file]')")
    tab.upload("#image input[type=file]", file)
    tab.until("document.querySelector('#message .fault')")
    assert "does not decode" in tab.js("document.querySelector('#message').innerText")
    assert not tab.js("document.querySelector('#picture img')")
    assert not tab.js("window.hacked || document.querySelector('[onerror]')")


@chromium
def test_hostile_text_stays_text_and_the_mask_is_shown(tab, address, tmp_path):
    Image.new("RGB", (112, 112), (100, 100, 100)).save(tmp_path / f"{HACK}.png")
    tab.js(CLICK.format("#image [aria-label=Clear]"))
    tab.until("document.querySelector('#image input[type=file]')")
    tab.upload("#image input[type=file]", tmp_path / f"{HACK}.png")
    tab.until("document.querySelector('#picture img')")
    assert HACK[1:20] in tab.js("document.querySelector('#image').innerHTML")
    tab.js(CLICK.format("#inspect"))
    tab.until("document.querySelectorAll('#past img').length == 2")
    assert tab.js("document.querySelector('#reasoning textarea').value") == HOSTILE
    assert f"{HACK}: 20, 20, 60, 60" in tab.js("document.querySelector('#verdict').innerText")
    assert not tab.js("window.hacked || document.querySelector('[onerror], main strong + b')")

    def red() -> int:
        """Of the middle of the mask, in the picture as it is shown."""
        seen = httpx.get(tab.js("document.querySelector('#picture img').src")).content
        return Image.open(io.BytesIO(seen)).convert("RGB").getpixel((257, 257))[0]

    assert red() == 158  # 100 and 0.45 of the way to 230
    before = tab.js("document.querySelector('#picture img').src")
    tab.js("document.querySelector('input[type=range]').focus()")
    tab.press("Home", 36)
    tab.until(f"document.querySelector('#picture img').src != {before!r}")
    assert red() == 100


@chromium
def test_the_history_is_recalled_and_exported(tab):
    tab.js("[...document.querySelectorAll('#past button')].at(-1).click()")
    tab.until("document.querySelectorAll('#beside img').length >= 1")
    tab.js(CLICK.format("#export"))
    tab.until("document.querySelector('#exported a')")
    rows = json.loads(httpx.get(tab.js("document.querySelector('#exported a').href")).content)
    assert [row["completion"] for row in rows] == [HOSTILE] * 2
    assert "/" not in rows[1]["image"] and rows[1]["boxes"][0]["label"] == HACK


@chromium
def test_stopped_it_ends_and_goes_on_with_the_next(tab, monkeypatch):
    written = "document.querySelector('#reasoning textarea').value"
    monkeypatch.setattr(Hostile, "pause", 0.3)
    tab.js(CLICK.format("#inspect"))
    tab.until(f"{written}.length > {2 * len(HOSTILE)}")
    tab.events.clear()
    tab.js(CLICK.format("#stop"))
    # Gradio's page takes no click that comes between the two.
    tab.answered("/cancel", "/reset")
    deadline = time.monotonic() + 20
    while not Hostile.left and time.monotonic() < deadline:
        time.sleep(0.05)
    assert Hostile.left and tab.js("document.querySelectorAll('#past img').length") == 2
    monkeypatch.setattr(Hostile, "pause", 0.0)
    tab.js(CLICK.format("#inspect"))
    tab.until("document.querySelectorAll('#past img').length == 3")


@chromium
def test_it_fits_a_phone_and_the_dark_and_asks_no_other_machine(tab, address):
    colour = "getComputedStyle(document.body).backgroundColor"
    ready = "document.querySelectorAll('#examples img').length == 8"
    light = tab.js(colour)
    tab.screen(390, 844, phone=True, dark=True)
    tab.events.clear()
    tab.open(address, ready)
    assert tab.js("[innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    assert tab.js(colour) != light
    asked = [e["params"]["request"]["url"] for e in tab.events if "request" in e.get("params", {})]
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert tab.complaints() == []


@chromium
def test_the_page_is_used_without_a_word_of_the_browser(tab, tmp_path):
    """Nothing that a visit needs is against the page's own policy, whatever the file is called."""
    tab.events.clear()
    noise(4).save(tmp_path / f"{HACK}.png")
    tab.upload("#image input[type=file]", tmp_path / f"{HACK}.png")
    tab.until("document.querySelector('#picture img')")
    tab.js(CLICK.format("#inspect"))
    tab.until("document.querySelectorAll('#past img').length == 1")
    assert not tab.js("window.hacked || document.querySelector('[onerror]')")
    assert tab.complaints() == []


def test_who_finds_the_queue_full_is_turned_away(address, monkeypatch):
    monkeypatch.setattr(Hostile, "pause", 0.3)
    config = httpx.get(f"{address}config").json()
    [inspect] = [d for d in config["dependencies"] if d["api_name"] == "inspect"]
    image = httpx.post(
        f"{address}gradio_api/upload", files={"files": ("a.png", png_bytes(noise(1)))}
    ).json()[0]
    given = [
        {"path": image, "meta": {"_type": "gradio.FileData"}},
        None,
        "capsule",
        "",
        "",
        "",
        0.4,
        None,
    ]
    asked = {"fn_index": inspect["id"], "data": given}
    statuses = []
    for number in range(5):
        answer = httpx.post(
            f"{address}gradio_api/queue/join", json={**asked, "session_hash": f"visitor{number}"}
        )
        statuses.append(answer.status_code)
        time.sleep(0.3)  # the first is at work when the others come
    assert statuses == [200, 200, 200, 503, 503]


def test_a_port_that_is_taken_is_told(address, inspector):
    from anomalyr1.demo.inspect_request import Desk
    from anomalyr1.demo.serving import served
    from anomalyr1.demo.shown_examples import Examples
    from anomalyr1.errors import InputError

    port = int(address.strip("/").rsplit(":", 1)[1])
    desk = Desk(inspector, Examples((), {}))
    with pytest.raises(InputError, match=f"free port {port}"), served(desk, "127.0.0.1", port):
        pass
