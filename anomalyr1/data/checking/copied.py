"""Images that show one photo: within a benchmark, across its sides, and among its references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from anomalyr1.data.checking.findings import Finding
from anomalyr1.data.fingerprint import Fingerprint
from anomalyr1.data.turned_copies import copies
from anomalyr1.errors import listed
from anomalyr1.schema import Sample


@dataclass(frozen=True, slots=True)
class Look:
    """What is needed to tell copies: samples, fingerprints and groups by key, and their side.

    `side` is the name of a side of a split or the records' own `split`; None where there is none.
    """

    samples: Sequence[Sample]
    prints: Mapping[str, Fingerprint]
    groups: Mapping[str, str]
    side: str | None = None

    def by_side(self, name: str | None) -> list[Look]:
        """The same under that name; without one, a look for each `split` of the records."""
        if name is not None:
            return [Look(self.samples, self.prints, self.groups, name)]
        sides: dict[str | None, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            sides[sample.split].append(sample)
        if len(sides) == 1:
            return [self]
        return [Look(own, self.prints, self.groups, side) for side, own in sides.items()]

    @property
    def keys(self) -> list[str]:
        """The images asked about that could be read."""
        return [s.image for s in self.samples if s.image in self.prints]

    @property
    def references(self) -> list[str]:
        """The references that could be read."""
        keys = (k for s in self.samples for k in (*s.similar_templates, *s.random_templates))
        return [key for key in dict.fromkeys(keys) if key in self.prints]


def copy_findings(looks: Sequence[Look], near_bits: int) -> Iterator[Finding]:
    """Copies among the images asked about, on one side and across, and among the references."""
    asked = [(look, key) for look in looks for key in look.keys]
    prints = [look.prints[key] for look, key in asked]
    by_hash: dict[str, int] = {}
    for place, print_ in enumerate(prints):
        (look, key), (other, first) = asked[place], asked[by_hash.setdefault(print_.sha256, place)]
        if other.side != look.side:
            message = f"the same file as {first} of the side {other.side}"
            yield Finding("error", "sides", _name(look, key), message)
    if near_bits < 0:
        return
    for a, b, bits, turn in copies(prints, prints, near_bits):
        if a >= b or prints[a].sha256 == prints[b].sha256:
            continue
        (other, first), (look, key) = asked[a], asked[b]
        how = f"looks like {first}{turn and ', '}{turn} ({bits} of 256 bits differ)"
        if look.side != other.side:
            message = f"{how}, which is of the side {other.side}"
            yield Finding("warning", "sides", _name(look, key), message)
        elif look.groups.get(key, key) != other.groups.get(first, first):
            yield Finding("warning", "near-duplicate", _name(look, key), how)
    yield from _reference_findings(looks, near_bits)


def group_findings(looks: Sequence[Look]) -> Iterator[Finding]:
    """Groups of which several sides have images."""
    sides: dict[str, dict[str | None, str]] = defaultdict(dict)
    for look in looks:
        for key in look.keys:
            if key in look.groups:
                sides[look.groups[key]].setdefault(look.side, key)
    for group, keys in sides.items():
        if len(keys) > 1:
            names = listed([f"{key} ({side})" for side, key in keys.items()])
            yield Finding("error", "sides", names, f"the group {group!r} is on several sides")


def _reference_findings(looks: Sequence[Look], near_bits: int) -> Iterator[Finding]:
    """References that look like an image that is asked about, the worst pair of each."""
    for look in looks:
        references = look.references
        others = [(other, key) for other in looks for key in other.keys]
        found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        first = [look.prints[key] for key in references]
        second = [other.prints[key] for other, key in others]
        for a, b, bits, turn in copies(first, second, near_bits):
            reference, (other, key) = references[a], others[b]
            group = look.groups.get(reference)
            same_group = group is not None and group == other.groups.get(key)
            if reference != key and not same_group and first[a].sha256 != second[b].sha256:
                found[reference].append((bits, key, turn))
        for reference, pairs in found.items():
            bits, key, turn = min(pairs)
            more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
            message = (
                f"this reference looks like {key}{turn and ', '}{turn} ({bits} of 256 bits "
                f"differ){more}"
            )
            yield Finding("warning", "reference", _name(look, reference), message)


def _name(look: Look, key: str) -> str:
    return key if look.side is None else f"{look.side}: {key}"
