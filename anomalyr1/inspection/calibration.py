"""A threshold on P(anomalous), chosen on a benchmark and kept beside the policy.

The file holds the threshold with its interval, the overkill and miss it had, the benchmark's hash
and the settings it was chosen under: with other settings it would cut another score.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anomalyr1.config import PromptConfig
from anomalyr1.errors import InputError
from anomalyr1.exposure import refuse_seen, seen_images
from anomalyr1.inspection.asks import Ask, plan_asks
from anomalyr1.inspection.examination import Examination
from anomalyr1.inspection.inspection_settings import asked_settings, threshold_settings
from anomalyr1.inspection.product import Product
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED
from anomalyr1.metrics.operating_point import OperatingPoint, operating_point, require_choosable
from anomalyr1.rows import open_benchmark, reference_paths
from anomalyr1.run_folder import THRESHOLD
from anomalyr1.schema import Sample
from anomalyr1.settings_card import differences
from anomalyr1.storage import read_json, write_json
from anomalyr1.values import is_number

if TYPE_CHECKING:
    from anomalyr1.inspection.inspector import Inspector

_EXPECTED = "a threshold, as Inspector.calibrate writes it,"


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it was chosen under.

    Attributes:
        threshold: on P(anomalous); at it or above an image is anomalous.
        settings: `inspection_settings.threshold_settings` of the inspections it was chosen on.
    """

    threshold: float
    settings: Mapping[str, Any]

    @property
    def references(self) -> int | None:
        """How many were shown with each image; None where that was not written down."""
        count = self.settings.get("references")
        return count if isinstance(count, int) else None

    def require_alike(self, settings: Mapping[str, Any]) -> None:
        """Refuse to use the threshold under other settings, as far as both name them.

        Raises:
            InputError: the settings that differ are named, those of the threshold first.
        """
        named = {name: self.settings.get(name) for name in settings}
        unlike = differences(named, settings)
        if unlike:
            raise InputError(
                "expected the settings that the saved threshold was chosen under, found others: "
                f"{'; '.join(unlike)}; calibrate again, or set the threshold yourself or to none"
            )


def calibrate(
    inspector: Inspector,
    benchmark: Path | str,
    *,
    overkill: float | None = None,
    miss: float | None = None,
    references: int = 0,
    limit: int | None = None,
    allow_seen: bool = False,
    save: bool | Path | str = True,
    resamples: int = RESAMPLES,
    on_image: Callable[[int, int], None] | None = None,
) -> OperatingPoint:
    """Choose a threshold on a benchmark, keep it beside the policy, and decide by it.

    The usual question is asked of every image; what the records of the benchmark ask is not used,
    their labels are.

    Args:
        inspector: decides by the threshold from here on.
        benchmark: folder or mmad.json, of images that the policy was not trained on.
        overkill: share of normal images that may raise an alarm; give this or `miss`.
        miss: share of anomalous images that may raise none.
        references: shown with each image, from its record.
        limit: take so many images, drawn evenly; None takes all.
        allow_seen: take images that the policy was trained on too.
        save: True for `threshold.json` beside the policy, a file, or False for nowhere.
        resamples: of the bootstrap behind the intervals.
        on_image: called with (images done, images in all) after every batch.

    Returns:
        The threshold with its interval, and overkill and miss with theirs.

    Raises:
        InputError: the benchmark cannot be used, the share cannot be kept, or nothing can be
            written there.
    """
    file = None if save is False else place_of_threshold(inspector.config.path, save)
    prompt = PromptConfig(references=references)
    opened, samples = open_benchmark(str(benchmark), "benchmark", prompt, limit=limit)
    labels = [not sample.is_normal for sample in samples]
    require_choosable(labels, overkill, miss)
    path = inspector.config.path
    seen = seen_images(path, opened)
    refuse_seen(
        path,
        {s.image: seen[s.image] for s in samples if s.image in seen},
        allow_seen,
        "calibrate on a held-out split, or take them all the same (`calibrate --allow-seen`, "
        "allow_seen=True in Python)",
    )
    shown: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples:
        shown.setdefault(reference_paths(sample, prompt), []).append(sample)
    scores: dict[str, float] = {}
    card: Mapping[str, Any] = {}
    for chosen, group in shown.items():
        pictures = [opened.root / key for key in chosen]
        for start in range(0, len(group), inspector.batch_size):
            part = group[start : start + inspector.batch_size]
            found, card = _probabilities(inspector, [sample.path for sample in part], pictures)
            scores |= {sample.image: p for sample, p in zip(part, found, strict=True)}
            if on_image is not None:
                on_image(len(scores), len(samples))
    point = operating_point(
        [scores[sample.image] for sample in samples],
        labels,
        overkill=overkill,
        miss=miss,
        resamples=resamples,
    )
    if file is not None:
        write_json(
            file,
            {
                **asdict(point),
                "wanted": {"overkill": overkill, "miss": miss},
                "resamples": resamples,
                "seed": SEED,
                "benchmark": {"path": str(opened.path), "sha256": opened.sha256},
                "settings": dict(card),
                "card": dict(inspector.settings),
            },
        )
    inspector.use(Calibration(point.threshold, card))
    return point


def loaded_settings(inspector: Inspector) -> dict[str, Any]:
    """The settings of a threshold that an inspector has whatever it is asked."""
    return threshold_settings(
        inspector.settings, inspector.template, inspector.max_new_tokens, inspector.weigh
    )


def all_settings(inspector: Inspector, ask: Ask, product: Product) -> dict[str, Any]:
    """These, and those of what is asked and shown."""
    unit = inspector.policy.family.unit or "pixels"
    asked = asked_settings(ask, unit, len(product.references), product.knowledge)
    return {**loaded_settings(inspector), **asked}


def read_calibration(file: Path) -> Calibration:
    """Read what `calibrate` wrote.

    Raises:
        InputError: it is missing or of another form.
    """
    content = read_json(file, _EXPECTED)
    threshold: Any = content.get("threshold") if isinstance(content, dict) else None
    settings = content.get("settings") if isinstance(content, dict) else None
    if not is_number(threshold) or not 0 <= threshold <= 1 or not isinstance(settings, dict):
        raise InputError(
            f"expected {_EXPECTED} in {file}, found another form; calibrate again or remove it"
        )
    return Calibration(float(threshold), settings)


def _probabilities(
    inspector: Inspector, images: Sequence[Path], references: Sequence[Path]
) -> tuple[list[float], dict[str, Any]]:
    """P(anomalous) of a batch, and the settings that a threshold on it depends on."""
    processor = inspector.policy.processor
    [ask] = plan_asks(None, inspector.template, locate=False)
    product = Product.of(references, None, processor)
    examination = Examination(inspector, [ask], product, images)
    found = [p for p in examination.probabilities() if p is not None]
    return found, all_settings(inspector, ask, product)


def place_of_threshold(policy: str | Path, save: Literal[True] | Path | str | None = None) -> Path:
    """Where a threshold will be written; asked before hours of work, not after.

    Args:
        policy: folder of the policy, or its hub id.
        save: a file; True or None for `threshold.json` beside the policy.

    Raises:
        InputError: the policy has no folder here, or nothing can be written there.
    """
    elsewhere = "save it to a file elsewhere (`calibrate --out FILE`, save=FILE in Python)"
    if save is True or save is None:
        file = Path(policy) / THRESHOLD
        if not file.parent.is_dir():
            raise InputError(
                f"expected a folder of the policy to put the threshold in, found none at {policy}; "
                f"{elsewhere}"
            )
    else:
        file = Path(save)
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=folder):
            return file
    except OSError as error:
        raise InputError(
            f"expected to write the threshold to {file}, found that nothing can be written there "
            f"({error.strerror}); make {folder} writable, or {elsewhere}"
        ) from None
