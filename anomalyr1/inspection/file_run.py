"""Files inspected in batches; one that cannot be used is told, and the rest go on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyr1.data.image_sources import ImageSource
from anomalyr1.errors import InputError
from anomalyr1.inspection.asks import plan_asks
from anomalyr1.inspection.calibration import all_settings
from anomalyr1.inspection.inputs import images_below
from anomalyr1.inspection.inspector import Inspector
from anomalyr1.inspection.ledger import FileId, Ledger, file_id
from anomalyr1.inspection.product import open_shown

_PRODUCT = "of these files"
PATIENCE = 5.0  # seconds that a file which does not decode is taken to be written still


@dataclass(frozen=True)
class FileRun:
    """What is asked of each file; `inspector.inspect` has the meaning of each field."""

    inspector: Inspector
    references: Sequence[ImageSource] = ()
    question: str | None = None
    knowledge: str | None = None
    defect_types: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Have the references opened once for all batches."""
        self.inspector.learn(_PRODUCT, self.references, self.knowledge)

    def settings(self) -> dict[str, Any]:
        """All that a result depends on beside the file.

        Raises:
            InputError: a reference or a text that the policy cannot take.
        """
        inspector = self.inspector
        asks = plan_asks(
            self.question,
            inspector.template,
            locate=inspector.locate,
            defect_types=self.defect_types,
        )
        product = inspector.products.get(_PRODUCT)
        segmenter = inspector.segmenter
        return {
            **all_settings(inspector, asks[0], product),
            "max_new_tokens": inspector.max_new_tokens,
            "threshold": inspector.threshold,
            "references": [record["sha256"] for record in product.record],
            "knowledge": product.knowledge,
            "asked": [ask.kind for ask in asks],
            "defect_types": list(self.defect_types),
            "segmenter": None if segmenter is None else [segmenter.name, segmenter.settings],
        }

    def inspect(
        self, files: Sequence[tuple[FileId, Path]], ledger: Ledger
    ) -> Iterator[dict[str, Any]]:
        """The row of each file, in batches; those that are done already are passed over."""
        size = self.inspector.batch_size
        waiting = [(known, path) for known, path in files if known not in ledger.done]
        for start in range(0, len(waiting), size):
            opened = []
            for known, path in waiting[start : start + size]:
                try:
                    opened.append((known, open_shown(path, self.inspector.policy.processor)))
                except InputError as error:
                    yield ledger.add(known, str(error))
            found = self.inspector.inspect_many(
                [shown for _, shown in opened],
                question=self.question,
                product=_PRODUCT,
                defect_types=self.defect_types,
            )
            for (known, _), inspection in zip(opened, found, strict=True):
                yield ledger.add(known, inspection)

    def watch(
        self, folder: Path, ledger: Ledger, *, interval: float, idle: float | None
    ) -> Iterator[dict[str, Any]]:
        """The row of each file that is in the folder or arrives there.

        A file is taken when it has stayed the same from one look to the next and decodes; one that
        does not decode is waited for some seconds longer, and told then.

        Args:
            folder: looked into, with what is below it.
            ledger: of what is done; in a folder, it survives a restart.
            interval: seconds between looks.
            idle: end when nothing has arrived for so many seconds; None never ends.
        """
        since: dict[FileId, float] = {}
        last = time.monotonic()
        while True:
            now = time.monotonic()
            present = _present(folder, ledger)
            since = {known: since.get(known, now) for known, _ in present}
            settled = [(known, path) for known, path in present if since[known] < now]
            whole = [
                (known, path)
                for known, path in settled
                if now - since[known] > PATIENCE or self._decodes(path)
            ]
            yield from self.inspect(whole, ledger)
            if whole or len(settled) < len(present):
                last = time.monotonic()
            if idle is not None and time.monotonic() - last >= idle and not present:
                return
            time.sleep(interval)

    def _decodes(self, path: Path) -> bool:
        try:
            open_shown(path, self.inspector.policy.processor)
        except InputError:
            return False
        return True


def _present(folder: Path, ledger: Ledger) -> list[tuple[FileId, Path]]:
    """The files of a folder that are not done."""
    inside = None if ledger.out is None else ledger.out.absolute()
    found: dict[Path, FileId] = {}

    def waits(path: Path) -> bool:
        try:
            known = file_id(path)
        except OSError:  # gone since
            return False
        if known in ledger.done or inside in path.absolute().parents:
            return False
        found[path] = known
        return True

    return [(found[path], path) for path in images_below(folder, waits)]
