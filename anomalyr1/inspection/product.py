"""What an inspector knows of a product: what its normal parts look like, and a text about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from anomalyr1.data.image_sources import ImageSource, read_image, source_name
from anomalyr1.errors import InputError, listed
from anomalyr1.refusals import refused_size


@dataclass(frozen=True)
class Product:
    """Reference images with their record on the settings card, and knowledge in words."""

    references: tuple[Image.Image, ...] = ()
    record: tuple[dict[str, Any], ...] = ()
    knowledge: str | None = None

    @classmethod
    def of(
        cls, references: Sequence[ImageSource], knowledge: str | None, processor: Any
    ) -> Product:
        """Open the references; a record is the name, and the sha256 of size and RGB values.

        Raises:
            InputError: as `open_shown`.
        """
        opened = [open_shown(reference, processor) for reference in references]
        record = tuple(
            {"name": source_name(source), "sha256": hashlib.sha256(_content(image)).hexdigest()}
            for image, source in zip(opened, references, strict=True)
        )
        return cls(tuple(opened), record, (knowledge or "").strip() or None)


@dataclass
class Products:
    """The products that an inspector has learnt, by name."""

    known: dict[str, Product] = field(default_factory=dict)

    def learn(
        self,
        name: str,
        references: Sequence[ImageSource],
        knowledge: str | None,
        processor: Any,
    ) -> None:
        """Remember a product; what was known under its name is forgotten."""
        self.known[name] = Product.of(references, knowledge, processor)

    def shown(
        self,
        name: str | None,
        references: Sequence[ImageSource],
        knowledge: str | None,
        processor: Any,
    ) -> Product:
        """What is shown of a product: as given, which is learnt where it has a name, or as known.

        Raises:
            InputError: nothing is given, and nothing is known under the name.
        """
        if name is None:
            return Product.of(references, knowledge, processor)
        if len(references) or knowledge is not None:
            self.learn(name, references, knowledge, processor)
        return self.get(name)

    def get(self, name: str) -> Product:
        """What is known of a product.

        Raises:
            InputError: nothing is; the names that are known are listed.
        """
        if name not in self.known:
            known = listed(sorted(self.known)) or "none"
            raise InputError(
                f"expected a product that was learnt ({known}), found {name!r}; give its "
                "references or call learn first"
            )
        return self.known[name]


def open_shown(source: ImageSource, processor: Any) -> Image.Image:
    """An image that the policy is to be shown.

    Raises:
        InputError: it is none, or of a shape that the policy's processor refuses.
    """
    image = read_image(source)
    refused = refused_size(image.size, processor)
    if refused:
        name = source_name(source) or "the image given"
        raise InputError(
            f"expected an image that the policy takes, found {name} of {refused}; crop it"
        )
    return image


def require_shown(sources: Sequence[ImageSource], processor: Any) -> None:
    """Stop before work starts where images cannot be shown.

    Raises:
        InputError: all of them are counted, the first are told.
    """
    faults = []
    for source in sources:
        try:
            open_shown(source, processor)
        except InputError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        raise InputError(
            f"expected {len(sources)} images that can be inspected, found {len(faults)} that "
            f"cannot: {listed(faults, separator='; ')}"
        )


def _content(image: Image.Image) -> bytes:
    return f"{image.size}".encode() + image.tobytes()
