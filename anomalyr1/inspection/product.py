"""What an inspector knows of a product: what its normal parts look like, and a text about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
            {"name": name, "sha256": hashlib.sha256(_content(image)).hexdigest()}
            for image, name in opened
        )
        images = tuple(image for image, _ in opened)
        return cls(images, record, (knowledge or "").strip() or None)


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


class Shown(NamedTuple):
    """An image as the policy is shown it, and what it is called."""

    image: Image.Image
    name: str | None


def open_shown(source: ImageSource | Shown, processor: Any) -> Shown:
    """An image that the policy is to be shown.

    Raises:
        InputError: it is none, or of a shape that the policy's processor refuses.
    """
    if isinstance(source, Shown):
        return source
    image, name = read_image(source), source_name(source)
    refused = refused_size(image.size, processor)
    if refused:
        raise InputError(
            f"expected an image that the policy takes, found {name or 'the image given'} of "
            f"{refused}; crop it"
        )
    return Shown(image, name)


def open_all(
    sources: Sequence[ImageSource | Shown], processor: Any, *, keep: bool = True
) -> Sequence[ImageSource | Shown]:
    """Images that the policy is to be shown, every one looked at before work starts.

    Args:
        sources: of the images.
        processor: of the policy.
        keep: give them opened; False gives the sources back, where all would fill the memory.

    Raises:
        InputError: those that cannot be shown are counted, the first are told.
    """
    opened, faults = [], []
    for source in sources:
        try:
            shown = open_shown(source, processor)
            opened.append(shown if keep else source)
        except InputError as error:
            faults.append(str(error))
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        raise InputError(
            f"expected {len(sources)} images that can be inspected, found {len(faults)} that "
            f"cannot: {listed(faults, separator='; ')}; mend them"
        )
    return opened


def _content(image: Image.Image) -> bytes:
    return f"{image.size}".encode() + image.tobytes()
