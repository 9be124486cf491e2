"""The page: what stands on it, and what each control does.

Text from outside goes into text boxes, captions and escaped HTML alone: Gradio's own messages and
its Markdown would render it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from anomalyr1.data.making.questions import TEXTS
from anomalyr1.demo.answer_card import answer_card, message_card, waiting_card
from anomalyr1.demo.inspect_request import Desk, Request
from anomalyr1.demo.session import FORMS, OPACITY, Entry, drawn, export, with_entry
from anomalyr1.demo.upload_limits import open_upload
from anomalyr1.errors import InputError
from anomalyr1.schema import ANOMALY_DETECTION

TITLE = "AnomalyR1: inspect an image"
_NO_PRODUCT = "none: only what is given here"
_OWN_REFERENCE = "Its own reference is shown where none is given."
_NO_REFERENCE = "The saved threshold was chosen without references: give none."
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "inspector"}


def build_page(desk: Desk) -> gr.Blocks:
    """The page of a desk, not served yet."""
    limits, examples = desk.limits, desk.examples

    def look(file: str | None) -> dict[Any, Any]:
        """Show an image as soon as it is chosen, or say why it cannot be used."""
        seen = {picture: None, message: "", verdict: "", reasoning: "", current: None}
        if file is None:
            return seen
        try:
            return {**seen, picture: drawn(open_upload(Path(file), limits))}
        except InputError as error:
            return {**seen, message: message_card(str(error))}

    def look_at_references(files: list[str] | None) -> tuple[Any, str]:
        try:
            return [drawn(open_upload(Path(file), limits)) for file in files or ()], ""
        except InputError as error:
            return [], message_card(str(error))

    def inspect(
        file: str | None,
        references: list[str] | None,
        product: str,
        question: str,
        knowledge: str,
        types: str,
        opacity: float,
        entries: list[Entry],
    ) -> Iterator[dict[Any, Any]]:
        known = product if product in examples.references else ""
        request = Request(
            None if file is None else Path(file),
            tuple(map(Path, references or ())),
            known,
            question or "",
            knowledge or "",
            types or "",
        )
        # Not what was recalled from the history beside it.
        seen = {**look(file), beside: look_at_references(references)[0]}
        yield {**seen, message: "", verdict: waiting_card("looking ...")}
        coming = desk.answer(request)
        try:
            while True:
                try:
                    written = next(coming)
                except StopIteration as ended:
                    entry: Entry = ended.value
                    break
                yield {reasoning: written, verdict: waiting_card("reasoning ...")}
            entries = with_entry(entries, entry, limits)
            yield {**show(entry, opacity), history: entries, past: _past(entries), current: entry}
        except InputError as error:
            yield {message: message_card(str(error)), verdict: ""}
        finally:
            coming.close()

    def show(entry: Entry, opacity: float) -> dict[Any, Any]:
        return {
            message: "",
            verdict: answer_card(entry.row),
            reasoning: entry.row["completion"],
            picture: entry.picture(limits, opacity),
            beside: [drawn(open_upload(path, limits)) for path in entry.references],
        }

    def recall(opacity: float, entries: list[Entry], event: gr.SelectData) -> dict[Any, Any]:
        entry = entries[event.index]
        try:
            return {**show(entry, opacity), current: entry}
        except InputError as error:
            return {message: message_card(str(error))}

    def redraw(opacity: float, entry: Entry | None) -> Any:
        try:
            return gr.skip() if entry is None else entry.picture(limits, opacity)
        except InputError:  # gone: what is seen stays
            return gr.skip()

    def take(event: gr.SelectData) -> tuple[str, str]:
        _, path, product = examples.images[event.index]
        return str(path), product if product in examples.references else _NO_PRODUCT

    def write(form: str, entries: list[Entry]) -> tuple[Any, str]:
        try:
            file = export(entries, form, Path(tempfile.mkdtemp(dir=get_upload_folder())))
            return gr.update(value=str(file), visible=True), ""
        except InputError as error:
            return gr.update(value=None, visible=False), message_card(str(error))

    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=(600, limits.seconds)
    ) as page:
        history = gr.State([], time_to_live=limits.seconds)
        current = gr.State(None, time_to_live=limits.seconds)
        gr.HTML("<h1>Inspect an image</h1>")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=1, min_width=300):
                image = gr.File(
                    label=f"Image (at most {limits.megabytes} MB)",
                    file_types=["image"],
                    height=140,
                    elem_id="image",
                )
                references = gr.File(
                    label=f"References: normal parts (at most {limits.references})",
                    file_types=["image"],
                    file_count="multiple",
                    height=140,
                    elem_id="references",
                )
                product = gr.Dropdown(
                    [_NO_PRODUCT, *examples.references],
                    value=_NO_PRODUCT,
                    label="Product",
                    info=_OWN_REFERENCE if examples.references else _NO_REFERENCE,
                )
                question = gr.Dropdown(
                    list(TEXTS[ANOMALY_DETECTION]),
                    value=TEXTS[ANOMALY_DETECTION][0],
                    allow_custom_value=True,
                    label="Question",
                    info="Choose one, or type one that yes or no answers.",
                )
                with gr.Accordion("More to tell", open=False):
                    knowledge = gr.Textbox(label="What is known about the product", lines=3)
                    types = gr.Textbox(
                        label="Types of defects to choose from", placeholder="scratch, hole, stain"
                    )
                with gr.Row():
                    run = gr.Button("Inspect", variant="primary", elem_id="inspect", min_width=100)
                    stop = gr.Button("Stop", elem_id="stop", min_width=100)
            with gr.Column(scale=2, min_width=300):
                message = gr.HTML(elem_id="message", padding=False)
                verdict = gr.HTML(elem_id="verdict", padding=False)
                with gr.Row():
                    picture = gr.Image(
                        label="Image with mask and boxes",
                        interactive=False,
                        format="png",
                        buttons=["download", "fullscreen"],
                        elem_id="picture",
                        min_width=260,
                        height=360,
                    )
                    beside = gr.Gallery(
                        label="References",
                        interactive=False,
                        columns=1,
                        object_fit="contain",
                        buttons=["fullscreen"],
                        elem_id="beside",
                        min_width=260,
                        height=360,
                    )
                opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="Opacity of the mask")
                reasoning = gr.Textbox(
                    label="Reasoning and answer, as written",
                    lines=5,
                    max_lines=16,
                    interactive=False,
                    elem_id="reasoning",
                )
        chosen = gr.Gallery(
            [(str(path), caption) for caption, path, _ in examples.images],
            label="Examples",
            interactive=False,
            allow_preview=False,
            buttons=[],
            elem_id="examples",
        )
        past = gr.Gallery(
            label="History of this session",
            interactive=False,
            allow_preview=False,
            buttons=[],
            elem_id="past",
        )
        with gr.Row():
            with gr.Column(min_width=260):
                form = gr.Radio(list(FORMS), value=FORMS[0], label="Export of the history")
                to_file = gr.Button("Export", elem_id="export")
            written_file = gr.File(
                label="To download", interactive=False, visible=False, elem_id="exported"
            )

        shown = [message, verdict, reasoning, picture, beside]
        image.change(look, image, [message, verdict, reasoning, picture, current], **_PRIVATE)
        references.change(look_at_references, references, [beside, message], **_PRIVATE)
        asked = [image, references, product, question, knowledge, types, opacity, history]
        answering = run.click(
            inspect, asked, [*shown, history, past, current], **_PRIVATE, **_ONE_AT_A_TIME
        )
        stop.click(lambda: "", None, verdict, cancels=[answering], queue=False, **_PRIVATE)
        opacity.change(
            redraw,
            [opacity, current],
            picture,
            show_progress="hidden",
            trigger_mode="always_last",
            **_PRIVATE,
        )
        chosen.select(take, None, [image, product], **_PRIVATE)
        past.select(recall, [opacity, history], [*shown, current], **_PRIVATE)
        to_file.click(write, [form, history], [written_file, message], **_PRIVATE)
    return page


def _past(entries: Sequence[Entry]) -> list[tuple[Any, str]]:
    return [(entry.thumbnail, entry.caption) for entry in entries]
