"""What an inspector knows of a product: what its normal parts look like, and a text about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from anomalyr1.errors import InputError, listed


@dataclass(frozen=True)
class Product:
    """Reference images with their record on the settings card, and knowledge in words."""

    references: tuple[Image.Image, ...] = ()
    record: tuple[dict[str, Any], ...] = ()
    knowledge: str | None = None

    @classmethod
    def of(
        cls,
        references: Sequence[Image.Image],
        names: Sequence[str | None],
        knowledge: str | None,
    ) -> Product:
        """Make the record of each reference: its name, and the sha256 of size and RGB values."""
        record = tuple(
            {"name": name, "sha256": hashlib.sha256(_content(image)).hexdigest()}
            for image, name in zip(references, names, strict=True)
        )
        return cls(tuple(references), record, (knowledge or "").strip() or None)


@dataclass
class Products:
    """The products that an inspector has learnt, by name."""

    known: dict[str, Product] = field(default_factory=dict)

    def learn(self, product: Product, name: str) -> None:
        """Remember a product; what was known under its name is forgotten."""
        self.known[name] = product

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


def _content(image: Image.Image) -> bytes:
    return f"{image.size}".encode() + image.tobytes()
