"""DeepPCB: pairs of a printed circuit board and its defect-free template.

Licence: MIT, for research (github.com/tangsanli5201/DeepPCB). Citation: Tang et al., "Online PCB
Defect Detector On A New PCB Defect Dataset", arXiv 1902.06197, 2019.

Expected tree, below ROOT or ROOT/PCBData::

    group12000/12000/12000001_test.jpg   group12000/12000/12000001_temp.jpg
    group12000/12000_not/12000001.txt    one box a line: x1 y1 x2 y2 type (also with commas)

Types: 1 open, 2 short, 3 mousebite, 4 spur, 5 copper, 6 pin-hole. Refused: a test image without its
template or its boxes, a line that is not five whole numbers, an unknown type.

Every test image is defective, so the templates have to be both the normal images and the
references. An image that is asked about may not be a reference, hence a seeded half of the pairs
(`normal_share`) gives its template as a normal image; their defective images, like the normal ones,
get the templates of other boards as references. In the other half the template is the reference
of its own defective image, aligned with it as the data set means it. Note what follows: an aligned
reference goes with a defect. Set `aligned=false` and every image gets other boards' templates. Or
cut the boards into pieces (`data build --tile 160 --set normal_share=0`): pieces without a defect
are then the normal images, and all have the same piece of their template as reference.

Nearly all images have defects of several types; they lie in the folder "multiple". Both images of a
pair are one group, which a split keeps on one side.
"""

from __future__ import annotations

from pathlib import Path

from anomalyr1.data.making.sources.item import Item, Source, found_in, read_lines, require_items
from anomalyr1.data.seeding import seeded_order
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

TYPES = {1: "open", 2: "short", 3: "mousebite", 4: "spur", 5: "copper", 6: "pin-hole"}
TREE = "groupNNNNN/NNNNN/*_test.jpg with *_temp.jpg beside it and groupNNNNN/NNNNN_not/*.txt"


def read_deeppcb(
    root: Path, *, seed: int = 0, normal_share: float = 0.5, aligned: bool = True
) -> Source:
    """Read DeepPCB.

    Raises:
        InputError: the tree is not there, or files of it are missing or broken.
    """
    if not 0 <= normal_share < 1:
        raise InputError(f"expected normal_share of at least 0 and below 1, found {normal_share}")
    pairs = {}
    for test in found_in(root, "**/group*/*/*_test.jpg"):
        number = test.name.removesuffix("_test.jpg")
        template = test.with_name(f"{number}_temp.jpg")
        if not template.exists():
            raise InputError(f"expected the template {template.name} beside {test}, found none")
        pairs[number] = (test, template, _read_boxes(test, number))
    order = seeded_order(pairs, seed, "DeepPCB")
    normals = set(order[: round(normal_share * len(order))])
    items = []
    for number, (test, template, boxes) in pairs.items():
        types = tuple(sorted({str(box.label) for box in boxes}))
        own = (template,) if aligned and number not in normals else ()
        folder = types[0] if len(types) == 1 else "multiple"
        items.append(_item(test, folder, number, defects=types, boxes=boxes, references=own))
        items.append(_item(template, "good", number, reference=number not in normals))
    return Source(
        name="deeppcb",
        licence="MIT, research use",
        citation="Tang et al., Online PCB Defect Detector On A New PCB Defect Dataset, 2019",
        url="https://github.com/tangsanli5201/DeepPCB",
        items=require_items(items, root, TREE),
        options={"normal_share": normal_share, "aligned": aligned},
        paired=True,
    )


def _item(
    file: Path,
    folder: str,
    group: str,
    *,
    defects: tuple[str, ...] = (),
    boxes: tuple[Box, ...] | None = None,
    reference: bool = False,
    references: tuple[Path, ...] = (),
) -> Item:
    return Item(
        file,
        "DeepPCB",
        "pcb",
        folder,
        file.name,
        "printed circuit board",
        defects=defects,
        boxes=boxes,
        reference=reference,
        references=references,
        group=group,
    )


def _read_boxes(test: Path, number: str) -> tuple[Box, ...]:
    file = test.parent.with_name(f"{test.parent.name}_not") / f"{number}.txt"
    boxes = []
    for line_number, line in read_lines(file):
        try:
            x1, y1, x2, y2, kind = (int(value) for value in line.replace(",", " ").split())
            label = TYPES[kind]
        except (ValueError, KeyError):
            raise InputError(
                f"expected 'x1 y1 x2 y2 type' with a type of 1 to 6 at {file}:{line_number}, "
                f"found {line!r}; mend the line"
            ) from None
        boxes.append(Box(x1, y1, x2, y2, label))
    if not boxes:
        raise InputError(f"expected at least one box in {file}, found none; mend the file")
    return tuple(boxes)


def looks_like(root: Path) -> str | None:
    """What there is of this layout in ROOT, in words; None without it."""
    pairs = sum(1 for _ in root.glob("**/group*/*/*_test.jpg"))
    return f"DeepPCB's layout with {pairs} pairs" if pairs else None
