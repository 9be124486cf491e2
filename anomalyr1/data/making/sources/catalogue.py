"""The sources that `data build` knows, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalyr1.data.making.grouping import group_items
from anomalyr1.data.making.labels import read_settings, settle
from anomalyr1.data.making.sources.btad import read_btad
from anomalyr1.data.making.sources.coco import read_coco
from anomalyr1.data.making.sources.cvat import read_cvat
from anomalyr1.data.making.sources.deeppcb import read_deeppcb
from anomalyr1.data.making.sources.elpv import read_elpv
from anomalyr1.data.making.sources.folder import read_folder
from anomalyr1.data.making.sources.ground_truth import read_ground_truth
from anomalyr1.data.making.sources.item import Source
from anomalyr1.data.making.sources.label_studio import read_label_studio
from anomalyr1.data.making.sources.labelme import read_labelme
from anomalyr1.data.making.sources.magnetic_tile import read_magnetic_tile
from anomalyr1.data.making.sources.mvtec import read_goodsad, read_loco, read_mvtec
from anomalyr1.data.making.sources.real_iad import read_real_iad
from anomalyr1.data.making.sources.rle_csv import read_rle_csv
from anomalyr1.data.making.sources.visa import read_visa
from anomalyr1.data.making.sources.voc import read_voc
from anomalyr1.data.making.sources.yolo import read_yolo
from anomalyr1.errors import InputError, unknown
from anomalyr1.values import whole_characters

SOURCES: Mapping[str, Callable[..., Source]] = {
    "mvtec": read_mvtec,
    "visa": read_visa,
    "loco": read_loco,
    "goodsad": read_goodsad,
    "real-iad": read_real_iad,
    "deeppcb": read_deeppcb,
    "magnetic-tile": read_magnetic_tile,
    "elpv": read_elpv,
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "labelme": read_labelme,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
    "rle-csv": read_rle_csv,
    "manifest": read_ground_truth,
    "btad": read_btad,
    "folder": read_folder,
}
WITHOUT_ROOT = frozenset({"elpv"})
ANY_SOURCE = ("normal", "rename", "category", "defect", "group", "rescale")


def read_source(
    name: str, root: Path | None, settings: Mapping[str, str] | None = None, *, seed: int = 0
) -> Source:
    """Read a source by name.

    Args:
        name: one of `SOURCES`.
        root: where it lies; None only for a source that comes with a package.
        settings: settings as text: the reader's own, e.g. {"defect_min": "0.66"}, and those of
            `ANY_SOURCE`.
        seed: given to readers that choose.

    Raises:
        InputError: name, root or a setting cannot be used, or the reader refuses the tree.
    """
    if name not in SOURCES:
        raise unknown("a source", name, ("auto", *SOURCES))
    if root is None and name not in WITHOUT_ROOT:
        raise InputError(f"expected the folder of {name} as ROOT, found none; give it")
    if root is not None and not root.exists():
        raise InputError(f"expected {name} at {root}, found no such folder; check ROOT")
    read = SOURCES[name]
    known = {
        key: parameter
        for key, parameter in inspect.signature(read).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and key != "seed"
    }
    values: dict[str, Any] = {}
    general: dict[str, str] = {}
    for key, text in (settings or {}).items():
        if key in known:
            values[key] = _convert(key, text, known[key].default)
        elif key in ANY_SOURCE:
            general[key] = text
        else:
            raise unknown(f"a setting of {name}", key, (*known, *ANY_SOURCE))
    chooses = {"seed": seed} if "seed" in inspect.signature(read).parameters else {}
    source = read(root, **values, **chooses)
    source = replace(source, options={**values, **source.options})
    return _settled(source, root, general)


def _settled(source: Source, root: Path | None, settings: Mapping[str, str]) -> Source:
    """A source whose labels and groups are settled; what was read as what joins its notes."""
    items, labels = settle(source.items, read_settings(settings))
    items, groups = group_items(items, root, settings.get("group"))
    return replace(
        source,
        items=items,
        notes=(*source.notes, *labels, *groups),
        options={key: _writable(value) for key, value in {**source.options, **settings}.items()},
        rescale=bool(_convert("rescale", settings.get("rescale", "false"), False)),
    )


def _writable(value: Any) -> Any:
    """Text without the characters that no file can hold (from names that are no UTF-8)."""
    return whole_characters(value) if isinstance(value, str) else value


def _convert(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"expected {key}=true or {key}=false, found {text!r}; choose one")
        return text.lower() == "true"
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise InputError(f"expected a number for {key}, found {text!r}; give one") from None
    return text
