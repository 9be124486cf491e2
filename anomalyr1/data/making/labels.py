"""What labels say: which mean that a part is in order, and which name no type of defect.

Labels are compared in words (`questions.words`), without regard to case, spaces and punctuation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from anomalyr1.data.making.questions import words
from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError, listed, nearest
from anomalyr1.schema import Box
from anomalyr1.storage import read_yaml

_IN_ORDER_WORDS = """
    good goods normal normals ok okay oks pass passed passing nondefective nondefect nondefects
    nodefect nodefects notdefective undefective defectfree withoutdefect withoutdefects
    faultfree nofault flawless intact undamaged nodamage healthy noanomaly nonanomalous
    nonanomaly notanomalous inorder io accept accepted acceptable conforming conform fine
    perfect sound qualified noerror
"""
IN_ORDER = frozenset(_IN_ORDER_WORDS.split())
_NAMELESS_WORDS = """
    bad ng nok ko notok nogood notgood anomaly anomalies anomalous abnormal abnormality
    abnormalities defect defects defective fault faults faulty fail fails failed failure reject
    rejected rejects flaw flaws flawed combined multiple mixed several nio notnormal
    nonconforming unqualified unacceptable object objects
"""
NAMELESS = frozenset(_NAMELESS_WORDS.split())


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """What the user says about labels.

    Attributes:
        normal: labels of images in order; empty takes those of IN_ORDER. "good" always is.
        rename: label in words -> the label to use instead.
        category: the one product of the source.
        defect: type of the images whose label names none.
    """

    normal: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None
    defect: str | None = None


def plain(label: str) -> str:
    """A label without case, spaces and punctuation.

    >>> plain("Non-Defective"), plain("i. O.")
    ('nondefective', 'io')
    """
    return re.sub(r"[\W_]+", "", label.casefold())


def is_in_order(label: str, normal: Iterable[str] = ()) -> bool:
    """True for a label that says that nothing is wrong.

    >>> is_in_order("Non_Defective"), is_in_order("scratch"), is_in_order("A1", {"a1"})
    (True, False, True)
    """
    return plain(label) in (frozenset(normal) or IN_ORDER) or plain(label) == "good"


def is_nameless(label: str) -> bool:
    """True for a label that says that something is wrong but not what.

    >>> is_nameless("Defective"), is_nameless("dent")
    (True, False)
    """
    return plain(label) in NAMELESS


def read_settings(values: Mapping[str, str]) -> LabelSettings:
    """Settings from their text: normal=A,B  rename=a:b,c:d or a YAML file  category=  defect=.

    Raises:
        InputError: one cannot be read.
    """
    normal = frozenset(plain(label) for label in values.get("normal", "").split(",") if label)
    for key in ("category", "defect"):
        if key in values and not values[key].strip():
            raise InputError(f"expected {key}=NAME, found no name; give one")
    defect = values.get("defect")
    if defect is not None and (is_nameless(defect) or is_in_order(defect)):
        raise InputError(f"expected the type of a defect, found defect={defect}; name what it is")
    return LabelSettings(normal, _renames(values.get("rename", "")), values.get("category"), defect)


def settle(items: Iterable[Item], settings: LabelSettings) -> tuple[tuple[Item, ...], list[str]]:
    """Items with settled labels: renamed, normal told from defective, types without a name dropped.

    Of the images that a source shows as references only (a train folder), those with a defect are
    asked about, and then the normal ones beside them are too.

    Returns:
        The items, and lines that say what was read as what.

    Raises:
        InputError: a setting names a label or product that is not there, or an image of a normal
            label has boxes.
    """
    before = tuple(items)
    _require_known(before, settings)
    pairs = [(item, _settled(item, settings)) for item in before]
    labelled = {
        (new.dataset, new.category, new.split)
        for _, new in pairs
        if new.reference and not new.normal
    }
    names = Counter(new.key.casefold() for _, new in pairs)
    after = []
    for old, item in pairs:
        if names[item.key.casefold()] > 1 and old.folder != item.folder:
            item = replace(item, name=f"{old.folder}_{item.name}")  # two folders became one
        if item.reference and (item.dataset, item.category, item.split) in labelled:
            name = f"train_{item.name}" if item.split == "train" else item.name
            item = replace(item, reference=False, name=name)
        after.append(item)
    if {item.split for item in after if not item.reference} == {"test"}:
        after = [replace(item, split=None) for item in after]  # one side is none
    return tuple(after), _notes(pairs)


def _settled(item: Item, settings: LabelSettings) -> Item:
    if settings.category is not None:
        item = replace(item, category=settings.category, product=words(settings.category))
    rename, normal = settings.rename, settings.normal

    def new(label: str) -> str:
        return words(rename.get(words(label), label))

    def wrong(label: str | None) -> bool:
        return label is None or not is_in_order(label, normal)

    folder = rename.get(words(item.folder), item.folder)
    labels = {new(label) for label in item.defects}
    found = {label for label in labels if wrong(label)}
    boxes = item.boxes
    if boxes is not None:
        boxes = tuple(Box(*b.xyxy, None if b.label is None else new(b.label)) for b in boxes)
        boxes = tuple(box for box in boxes if wrong(box.label))
    shapes = tuple(replace(s, label=None if s.label is None else new(s.label)) for s in item.shapes)
    shapes = tuple(shape for shape in shapes if wrong(shape.label))
    in_order = is_in_order(folder, normal)
    if in_order or (labels and not found):
        if boxes:
            raise InputError(
                f"expected no boxes on {item.file}, whose label {item.folder!r} is normal, "
                f"found {len(boxes)}; move the image or remove its boxes"
            )
        mask = item.mask if in_order else None
        return replace(item, folder="good", defects=(), boxes=(), shapes=(), mask=mask)
    if len(found) == 1 < len(labels) and plain(folder) == "multiple":
        folder = next(iter(found)).replace(" ", "_")
    named = {label for label in found if not is_nameless(label)}
    nameless = len(named) < len(found) or not found
    name = None
    if nameless and settings.defect is not None:
        name = words(settings.defect)
        folder = name.replace(" ", "_") if len(found) < 2 else folder
        named, nameless = named | {name}, False

    def call(label: str | None) -> str | None:
        return name if label is None or is_nameless(label) else label

    return replace(
        item,
        folder=folder,
        # A defect without a name may be of any type, so that no type can be told to be absent.
        defects=() if nameless else tuple(sorted(named)),
        # No box on a defective image says that its place is not stated, not that there is none.
        boxes=tuple(Box(*box.xyxy, call(box.label)) for box in boxes) if boxes else None,
        shapes=tuple(replace(shape, label=call(shape.label)) for shape in shapes),
    )


def _renames(text: str) -> dict[str, str]:
    if not text:
        return {}
    if text.lower().endswith((".yaml", ".yml")):
        path = Path(text)
        table = read_yaml(path, "old: new lines", resolve=False)
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise InputError(
                f"expected old: new lines in {path}, found another form; mend the file"
            )
        return {words(str(old)): new for old, new in table.items()}
    renames = {}
    for pair in text.split(","):
        old, colon, new = pair.partition(":")
        if not colon or not old.strip() or not new.strip():
            raise InputError(
                f"expected rename=old:new,..., found {pair!r}; correct it, or name a YAML file"
            )
        renames[words(old)] = new.strip()
    return renames


def _require_known(items: tuple[Item, ...], settings: LabelSettings) -> None:
    labels = {words(label) for item in items for label in (item.folder, *item.defects)}
    labels |= {words(box.label) for item in items for box in item.boxes or () if box.label}
    for old in settings.rename:
        if old not in labels:
            raise _no_label("rename", old, labels)
    known = {plain(label) for label in labels}
    known |= {plain(new) for new in settings.rename.values()}
    for label in sorted(settings.normal):
        if label not in known:
            raise _no_label("normal", label, labels)
    products = sorted({item.category for item in items})
    if settings.category is not None and len(products) > 1:
        raise InputError(
            f"expected one product for category={settings.category}, found {listed(products)}; "
            "leave the setting out, or build the products one by one"
        )


def _no_label(setting: str, label: str, labels: Collection[str]) -> InputError:
    near = nearest(label, labels)
    advice = f"did you mean {near!r}?" if near else f"choose out of {listed(sorted(labels), 20)}"
    return InputError(f"expected a label of the images in {setting}, found {label!r}; {advice}")


def _notes(pairs: list[tuple[Item, Item]]) -> list[str]:
    normal: Counter[str] = Counter()
    defective: Counter[str] = Counter()
    nameless = 0
    for old, new in pairs:
        label = old.folder if plain(old.folder) != "multiple" else " + ".join(old.defects)
        (normal if new.normal else defective)[label or old.folder] += 1
        nameless += not new.normal and not new.defects
    notes = [
        "labels read as normal: " + (_counted(normal) or "none"),
        "labels read as defects: " + (_counted(defective) or "none"),
    ]
    if nameless:
        notes.append(
            f"{nameless} defective images have a label that names no type: the type is not asked "
            "for (--set rename=LABEL:TYPE or --set defect=TYPE names it)"
        )
    return notes


def _counted(labels: Counter[str]) -> str:
    return listed([f"{label} ({number})" for label, number in sorted(labels.items())], 20)
