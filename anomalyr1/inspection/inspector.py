"""`Inspector`: a loaded policy that looks at one image, or at many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from anomalyr1.config import PolicyConfig, SegmentationConfig
from anomalyr1.data.image_sources import ImageSource, read_image, source_name
from anomalyr1.errors import InputError
from anomalyr1.inspection.asks import plan_asks, refuse_special_tokens
from anomalyr1.inspection.examination import Examination
from anomalyr1.inspection.product import Product, Products
from anomalyr1.inspection.result import Inspection
from anomalyr1.inspection.settings_card import policy_settings
from anomalyr1.policy.asking import KeptReferences
from anomalyr1.policy.load import Policy, load_policy, share_prefixes
from anomalyr1.policy.resizing import saved_pixels
from anomalyr1.prompts import Template
from anomalyr1.refusals import refused_size, special_tokens
from anomalyr1.schema import Question
from anomalyr1.segmentation.segmenter import Segmenter, load_segmenter

BACKENDS = ("transformers",)


class Inspector:
    """A policy ready to inspect; `from_pretrained` makes one.

    Attributes:
        policy: model and processor.
        config: what the policy was loaded with.
        segmenter: makes masks of boxes, or None.
        template: `choice` or `inspect`.
        threshold: on P(anomalous), or None: then the letter that the policy writes decides.
        products: what was learnt of products.
    """

    def __init__(
        self,
        policy: Policy,
        config: PolicyConfig,
        *,
        segmenter: Segmenter | None = None,
        template: Template = "choice",
        threshold: float | None = None,
        locate: bool = True,
        max_new_tokens: int = 512,
        batch_size: int = 16,
    ) -> None:
        self.policy = policy
        self.config = config
        self.segmenter = segmenter
        self.template = template
        self.threshold = threshold
        self.locate = locate and policy.family.unit is not None
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.products = Products()
        self.settings = policy_settings(config, policy)
        self._kept = KeptReferences()
        self._marks = special_tokens(policy.processor.tokenizer)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        segmenter: str | Segmenter | None = "grabcut",
        backend: str = "transformers",
        threshold: float | None = None,
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
            segmenter: `box`, `grabcut`, `sam2`, an object with the `Segmenter` interface, or None
                for no masks.
            backend: what runs the policy: `transformers`.
            threshold: on P(anomalous), from 0 to 1; at it or above an image is anomalous.
            template: as the policy was trained: `choice` asks for a letter and, by a question of
                its own, for boxes; `inspect` for both at once.
            locate: ask for boxes.
            max_new_tokens: completion budget.
            batch_size: questions decoded together.
            min_pixels: images are scaled up to at least this many pixels; None takes the
                checkpoint's own, up to the limits of the config's defaults.
            max_pixels: images are scaled down to at most this many, likewise.
            dtype: `auto` keeps that of the checkpoint.
            attention: attention kernel of transformers.
            revision: hub revision.
            device: torch device; None takes CUDA where there is one.
            segmenter_checkpoint: SAM2 weights, a local file or a hub id.

        Raises:
            InputError: nothing loadable is there, or a setting is none.
        """
        if backend not in BACKENDS:
            raise InputError(
                f"expected a backend out of {', '.join(BACKENDS)}, found {backend!r}; "
                "correct the name"
            )
        _require_share(threshold, "threshold")
        usual = PolicyConfig.min_pixels, PolicyConfig.max_pixels
        saved = saved_pixels(Path(path)) or usual
        config = PolicyConfig(
            path=str(path),
            revision=revision,
            dtype=dtype,
            attention=attention,
            min_pixels=min_pixels or min(saved[0], usual[0]),
            max_pixels=max_pixels or min(saved[1], usual[1]),
        )
        masks = _segmenter(segmenter, segmenter_checkpoint, device)
        policy = load_policy(config)
        policy.model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        share_prefixes(policy.model)
        return cls(
            policy,
            config,
            segmenter=masks,
            template=template,
            threshold=threshold,
            locate=locate,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )

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
        self.products.learn(self._product(references, knowledge), product)

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
        images: Sequence[ImageSource],
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

        The arguments are those of `inspect`; all images are opened before the first is asked about.
        """
        shown = self._shown(references, knowledge, product)
        asks = plan_asks(
            question,
            self.template,
            locate=self.locate,
            defect_types=defect_types,
            descriptions=descriptions,
        )
        refuse_special_tokens(asks, shown.knowledge, self._marks)
        opened = [self._open(image) for image in images]
        names = [source_name(image) for image in images]
        size = max(1, self.batch_size // len(asks))
        found: list[Inspection] = []
        for start in range(0, len(opened), size):
            part = slice(start, start + size)
            examination = Examination(self, asks, shown, opened[part], names[part], self._kept)
            found += examination.run(on_text if len(opened) == 1 else None)
        return found

    def _shown(
        self, references: Sequence[ImageSource], knowledge: str | None, product: str | None
    ) -> Product:
        if product is None:
            return self._product(references, knowledge)
        if len(references) or knowledge is not None:
            self.learn(product, references, knowledge)
        return self.products.get(product)

    def _product(self, references: Sequence[ImageSource], knowledge: str | None) -> Product:
        opened = [self._open(reference) for reference in references]
        return Product.of(opened, [source_name(reference) for reference in references], knowledge)

    def _open(self, source: ImageSource) -> Image.Image:
        image = read_image(source)
        refused = refused_size(image.size, self.policy.processor)
        if refused:
            name = source_name(source) or "the image given"
            raise InputError(
                f"expected an image that the policy takes, found {name} of {refused}; crop it"
            )
        return image


def _require_share(value: Any, name: str) -> None:
    if value is not None and not 0 <= value <= 1:
        raise InputError(f"expected {name} from 0 to 1, found {value}; correct it")


def _segmenter(
    chosen: str | Segmenter | None, checkpoint: str | None, device: str | None
) -> Segmenter | None:
    if chosen is None or not isinstance(chosen, str):
        return chosen
    if chosen == "sam2":
        return load_segmenter(chosen, checkpoint or SegmentationConfig.checkpoint, device=device)
    return load_segmenter(chosen)
