"""What a person asks for on the page, and its answer from the inspector that all of them share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from anomalyr1.data.images import open_image
from anomalyr1.demo.session import Entry, entry_of
from anomalyr1.demo.shown_examples import Examples
from anomalyr1.demo.streamed import streamed
from anomalyr1.demo.upload_limits import Limits, check_texts, open_upload, shown_name
from anomalyr1.errors import InputError
from anomalyr1.inspection.inspector import Inspector
from anomalyr1.inspection.product import Shown, open_shown
from anomalyr1.inspection.result import Inspection


@dataclass(frozen=True)
class Request:
    """One inspection; empty texts ask for what is usual.

    Attributes:
        image: the file that was uploaded; None for none.
        references: files of normal parts.
        product: one of the examples' whose reference is shown where none is given here.
        question: to be answered by yes or no.
        knowledge: about the product.
        defect_types: to choose from, separated by commas.
    """

    image: Path | None
    references: tuple[Path, ...] = ()
    product: str = ""
    question: str = ""
    knowledge: str = ""
    defect_types: str = ""


@dataclass
class Desk:
    """An inspector that takes one request after the other.

    Attributes:
        inspector: of all sessions; it has learnt the products of the examples.
        examples: whose products can be chosen.
        limits: on what is asked.
    """

    inspector: Inspector
    examples: Examples
    limits: Limits = field(default_factory=Limits)
    _alone: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Have the products learnt, so that their references are computed once for all."""
        for product, references in self.examples.references.items():
            self.inspector.learn(product, [open_image(path) for path in references])

    def answer(self, request: Request) -> Generator[str, None, Entry]:
        """Yield the text as it is written, and return what was found.

        Raises:
            InputError: an image or a text that cannot be used; nothing has been asked then.
        """
        image = self._shown(request.image)
        if len(request.references) > self.limits.references:
            raise InputError(
                f"expected at most {self.limits.references} references, found "
                f"{len(request.references)}; take some out"
            )
        given = [self._shown(path) for path in request.references]
        texts = (request.question, request.knowledge, request.defect_types)
        check_texts(texts, self.limits)
        question, knowledge, types = (text.strip() for text in texts)
        files = request.references or self.examples.references.get(request.product, ())
        # What a visitor gives is shown to their image alone: to give it under the product's name
        # would teach it to the inspector of everybody.
        own = bool(given or knowledge)
        references = [one.image for one in given] or [open_image(path) for path in files]

        def work(tell: Callable[[str], None]) -> Inspection:
            with self._alone:
                [found] = self.inspector.inspect_many(
                    [image],
                    references if own else (),
                    question or None,
                    knowledge or None,
                    None if own else request.product or None,
                    defect_types=[kind.strip() for kind in types.split(",")] if types else (),
                    on_text=tell,
                )
            return found

        found = yield from streamed(work)
        assert request.image is not None, "it was opened"
        return entry_of(request.image, files, found)

    def _shown(self, path: Path | None) -> Shown:
        """An upload, opened as the policy is to be shown it."""
        if path is None:
            raise InputError("expected an image, found none; choose one or take an example")
        opened = open_upload(path, self.limits)
        return Shown(open_shown(opened, self.inspector.policy.processor).image, shown_name(path))
