"""The page served, to one address, with nothing loaded from outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anomalyr1.demo.inspect_request import Desk
from anomalyr1.demo.layout import build_page
from anomalyr1.errors import InputError

# Gradio's page starts with scripts and styles in its own text, and compiles its templates.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class SafeHeaders:
    """Adds to every answer what the browser may load and run."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As every ASGI application."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


@contextmanager
def served(desk: Desk, host: str, port: int) -> Iterator[tuple[gr.Blocks, str]]:
    """The page and its address, while the block runs; uploads are gone after it.

    Args:
        desk: that answers.
        host: address to listen on.
        port: likewise.

    Raises:
        InputError: that port is not free, or the address is none of this machine.
    """
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="uploads-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build_page(desk)
        try:
            _, url, _ = _launch(page, desk, host, port)
            yield page, url
        finally:
            page.close(verbose=False)
            os.environ.pop("GRADIO_TEMP_DIR")
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def _launch(page: gr.Blocks, desk: Desk, host: str, port: int) -> tuple[Any, str, str]:
    # Fonts of the system: a theme's own would be fetched from a server elsewhere.
    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_400")
    limits = desk.limits
    page.queue(max_size=limits.waiting, api_open=False)
    try:
        app, url, shared = page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=["settings"],
            # From outside of this folder Gradio hands out what is named here alone.
            allowed_paths=[str(path.absolute()) for _, path, _ in desk.examples.images],
            max_file_size=f"{limits.megabytes}mb",
            state_session_capacity=200,
            theme=theme,
            css_paths=Path(__file__).with_name("page.css"),
            app_kwargs={
                "middleware": [Middleware(SafeHeaders)],
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
            },
        )
        return app, url, shared
    except OSError as error:
        raise InputError(
            f"expected a free port {port} on {host}, found none ({error}); choose another --port"
        ) from None
