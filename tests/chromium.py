"""Chromium without a window, driven through the DevTools protocol over a pair of pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Tab:
    """One page of a browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._read = b""
        self._number, self._session = 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        self._number += 1
        sent: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            sent["sessionId"] = self._session
        os.write(self._commands, json.dumps(sent).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def js(self, expression: str) -> Any:
        """The value of an expression on the page."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str, seconds: float = 60) -> None:
        """Wait for an expression to be true."""
        deadline = time.monotonic() + seconds
        while not self.js(f"!!({expression})"):
            assert time.monotonic() < deadline, (expression, self.js("document.body.innerText"))
            time.sleep(0.1)

    def answered(self, *ends: str, seconds: float = 20) -> None:
        """Wait until the server has answered requests whose addresses end so, since `events`."""
        deadline = time.monotonic() + seconds
        while True:
            self.js("true")  # takes in what has happened
            responses = [e["params"].get("response") for e in self.events if "params" in e]
            urls = [response["url"] for response in responses if response]
            if all(any(url.endswith(end) for url in urls) for end in ends):
                return
            assert time.monotonic() < deadline, (ends, urls)
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        """What the browser holds against the page since `events`: refused, failed or raised."""
        self.js("true")  # takes in what has happened
        told = {"Log.entryAdded": "entry", "Runtime.exceptionThrown": "exceptionDetails"}
        found = [e["params"][told[e["method"]]] for e in self.events if e.get("method") in told]
        return [f"{said['text']} {said.get('url', '')}".strip() for said in found]

    def open(self, url: str, ready: str) -> None:
        """Go to a page and wait until an expression is true there."""
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState == 'complete' && ({ready})")

    def upload(self, selector: str, *files: Path) -> None:
        """Choose files in an input."""
        handle = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        chosen = [str(file) for file in files]
        self.call("DOM.setFileInputFiles", files=chosen, objectId=handle["result"]["objectId"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, as a person without a mouse presses it."""
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def screen(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Be a screen of that size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """A screenshot, of the whole page or of what is seen of it."""
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser ended"
            self._read += piece
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A browser with one page, ended with the block."""
    assert PROGRAM, "asked for where there is none"
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    # The shell puts the pipes where the browser looks for them: 3 to read, 4 to write.
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            f'exec "$@" 3<&{commands} 4>&{answers}',
            "-",
            PROGRAM,
            *_FLAGS,
            f"--user-data-dir={profile}",
        ],
        pass_fds=(commands, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        tab = Tab(to_browser, from_browser)
        yield tab
        tab._session = None
        tab.call("Browser.close")
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
