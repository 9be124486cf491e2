"""`Inspector`: a loaded policy that looks at one image, or at many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from anomalyr1.config import PolicyConfig
from anomalyr1.data.image_sources import ImageSource
from anomalyr1.errors import InputError, unknown
from anomalyr1.inspection.asks import plan_asks, refuse_special_tokens
from anomalyr1.inspection.calibration import (
    Calibration,
    all_settings,
    calibrate,
    loaded_settings,
    read_calibration,
)
from anomalyr1.inspection.examination import Examination
from anomalyr1.inspection.loading import load_to_inspect, segmenter_of, threshold_of
from anomalyr1.inspection.product import Products, Shown, open_all
from anomalyr1.inspection.result import Inspection
from anomalyr1.metrics.operating_point import OperatingPoint
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.policy.load import Policy
from anomalyr1.policy.prepared import KeptReferences
from anomalyr1.prompts import Template
from anomalyr1.refusals import special_tokens
from anomalyr1.schema import WEIGHS, Question, Weigh
from anomalyr1.segmentation.segmenter import Segmenter
from anomalyr1.settings_card import policy_settings
from anomalyr1.values import is_number


class Inspector:
    """A policy ready to inspect; `from_pretrained` makes one.

    >>> import numpy as np
    >>> inspector = Inspector.from_pretrained("data/tiny-policy", segmenter="box", locate=False)
    >>> grey = np.full((112, 112, 3), 150, np.uint8)
    >>> found = inspector.inspect(grey, references=[grey])
    >>> found.verdict, found.decided_by, found.answer, found.question.options["B"]
    ('normal', 'answer', 'B', 'No.')
    >>> found.probability < 0.01 < found.probability_at_once < 1
    True

    Attributes:
        policy: model and processor.
        config: what the policy was loaded with.
        segmenter: makes masks of boxes, or None.
        template: `choice` or `inspect`.
        threshold: on P(anomalous), or None: then the letter that the policy writes decides. One
            that was calibrated is used under the settings it was chosen under alone.
        calibration: where the threshold comes from; None for one's own.
        weigh: which likelihood the threshold is held against, that of the answer after `reasoning`
            or of one given `at_once`.
        products: what was learnt of products.
        settings: the policy's part of every settings card.
        kept: the references of products, computed; None computes them for every batch.
    """

    def __init__(
        self,
        policy: Policy,
        config: PolicyConfig,
        *,
        segmenter: Segmenter | None = None,
        template: Template = "choice",
        threshold: float | None = None,
        weigh: Weigh = "reasoning",
        locate: bool = True,
        max_new_tokens: int = 512,
        batch_size: int = 16,
    ) -> None:
        if weigh not in WEIGHS:
            raise unknown("weigh", weigh, WEIGHS)
        self.policy = policy
        self.config = config
        self.segmenter = segmenter
        self.template = template
        self.threshold = threshold
        self.weigh: Weigh = weigh
        self.locate = locate and policy.family.unit is not None
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.products = Products()
        self.settings = policy_settings(config, policy)
        self.kept: KeptReferences | None = KeptReferences()
        self._marks = special_tokens(policy.processor.tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        segmenter: str | Segmenter | None = "grabcut",
        backend: str = "transformers",
        threshold: float | str | Path | None = "saved",
        weigh: Weigh = "reasoning",
        template: Literal["choice", "inspect"] = "choice",
        locate: bool = True,
        max_new_tokens: int = 512,
        batch_size: int = 16,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        attention: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa",
        revision: str | None = None,
        device: str | None = None,
        segmenter_checkpoint: str | None = None,
    ) -> Inspector:
        """Load a policy and a segmenter.

        Args:
            path: hub id, checkpoint folder (`RUN/policy`) or adapter folder.
            segmenter: one of `SEGMENTERS`, an object with the interface, or None for no masks.
            backend: what runs the policy: `transformers`.
            threshold: on P(anomalous), from 0 to 1; at it or above an image is anomalous. `saved`
                takes the one that `calibrate` put beside the policy, if any, a path that of a file;
                None or `none` none.
            weigh: the likelihood it is held against: of the answer after the policy's `reasoning`,
                or of one given `at_once`, less sure of itself and cut more finely.
            template: as the policy was trained: `choice` asks for a letter and, by a question of
                its own, for boxes; `inspect` for both at once.
            locate: ask for boxes.
            max_new_tokens: completion budget.
            batch_size: questions decoded together.
            min_pixels: images are scaled up to at least this many pixels; None takes what the
                policy was trained with, of a base model its own up to the config's default.
            max_pixels: images are scaled down to at most this many, likewise.
            dtype: `auto` keeps that of the checkpoint.
            attention: attention kernel of transformers.
            revision: hub revision.
            device: torch device; None takes CUDA where there is one.
            segmenter_checkpoint: SAM2 weights, a local file or a hub id.

        Raises:
            InputError: nothing loadable is there, a setting is none, or the saved threshold was
                chosen under other settings.
        """
        chosen = threshold_of(threshold, path)
        masks = segmenter_of(segmenter, segmenter_checkpoint, device)
        policy, config = load_to_inspect(
            path,
            backend=backend,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            device=device,
            dtype=dtype,
            attention=attention,
            revision=revision,
        )
        inspector = cls(
            policy,
            config,
            segmenter=masks,
            template=template,
            threshold=None if isinstance(chosen, Path) else chosen,
            weigh=weigh,
            locate=locate,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )
        if isinstance(chosen, Path):
            inspector.use(read_calibration(chosen))
        return inspector

    @property
    def threshold(self) -> float | None:  # noqa: D102
        return self._threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        if value is not None and not (is_number(value) and 0 <= value <= 1):
            raise InputError(f"expected a threshold from 0 to 1, found {value!r}; correct it")
        self._threshold = value
        self.calibration: Calibration | None = None

    def use(self, calibration: Calibration) -> None:
        """Decide by a threshold that was calibrated.

        Raises:
            InputError: it was chosen under other settings; they are named.
        """
        calibration.require_alike(loaded_settings(self))
        self.threshold = calibration.threshold
        self.calibration = calibration

    def calibrate(
        self,
        benchmark: Path | str,
        *,
        overkill: float | None = None,
        miss: float | None = None,
        **options: Any,
    ) -> OperatingPoint:
        """Choose the threshold on a benchmark, keep it beside the policy, and decide by it.

        `calibration.calibrate` has the options and what is returned.
        """
        return calibrate(self, benchmark, overkill=overkill, miss=miss, **options)

    def learn(
        self,
        product: str,
        references: Sequence[ImageSource] = (),
        knowledge: str | None = None,
    ) -> None:
        """Remember what normal parts of a product look like, and what is known about it.

        Its references are computed with the first image inspected, and kept: a further image of
        the product costs none of their tokens.

        Args:
            product: what to call it.
            references: images of normal parts.
            knowledge: a text about it.

        Raises:
            InputError: a reference is no image that the policy takes.
        """
        self.products.learn(product, references, knowledge, self.policy.processor)

    def inspect(
        self,
        image: ImageSource,
        references: Sequence[ImageSource] = (),
        question: str | Question | None = None,
        knowledge: str | None = None,
        product: str | None = None,
        *,
        defect_types: Sequence[str] = (),
        descriptions: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Inspection:
        """Inspect one image.

        Args:
            image: a path, the bytes of a file, an array or a PIL image.
            references: images of normal parts, shown before it.
            question: in words, to be answered by yes or no; a `Question` of another kind; None asks
                whether there is a defect.
            knowledge: a text about the product.
            product: the name of one that was learnt, whose references and knowledge are shown; with
                references or knowledge given, these are learnt under that name.
            defect_types: where a defect is found, which of these it is.
            descriptions: where a defect is found, which of these describes it.
            on_text: called with each piece of the reasoning and answer as it is written.

        Raises:
            InputError: an image or a text that the policy cannot take.
        """
        [found] = self.inspect_many(
            [image],
            references,
            question,
            knowledge,
            product,
            defect_types=defect_types,
            descriptions=descriptions,
            on_text=on_text,
        )
        return found

    def inspect_many(
        self,
        images: Sequence[ImageSource | Shown],
        references: Sequence[ImageSource] = (),
        question: str | Question | None = None,
        knowledge: str | None = None,
        product: str | None = None,
        *,
        defect_types: Sequence[str] = (),
        descriptions: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> list[Inspection]:
        """Inspect several images of one product, in batches behind one computation of its prompt.

        The arguments are those of `inspect`. Every image is looked at before the first is asked
        about, and all that cannot be used are named. Text is told of the first of each batch.
        """
        shown = self.products.shown(product, references, knowledge, self.policy.processor)
        asks = plan_asks(
            question,
            self.template,
            locate=self.locate,
            defect_types=defect_types,
            descriptions=descriptions,
        )
        refuse_special_tokens(asks, shown.knowledge, self._marks)
        if self.calibration is not None and verdict_letters(asks[0].question):
            self.calibration.require_alike(all_settings(self, asks[0], shown))
        size = max(1, self.batch_size // len(asks))
        opened = open_all(images, self.policy.processor, keep=len(images) <= size)
        found: list[Inspection] = []
        for start in range(0, len(images), size):
            found += Examination(self, asks, shown, opened[start : start + size]).run(on_text)
        return found
