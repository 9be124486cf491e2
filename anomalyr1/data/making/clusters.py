"""Images that belong together: one group, equal bytes, or near-duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from anomalyr1.data.fingerprint import Fingerprint
from anomalyr1.data.turned_copies import copies


def cluster(
    keys: Sequence[str],
    prints: Mapping[str, Fingerprint],
    groups: Mapping[str, str],
    near_bits: int,
    together: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """Connected components, in the order of their first key.

    Args:
        keys: the images.
        prints: fingerprint of each.
        groups: name of the group of those that have one.
        near_bits: near-duplicates (mirrored and turned ones too) within this distance are joined;
            below 0 none are.
        together: a further name a key; keys of one name are joined.
    """
    links: list[tuple[str, str]] = []
    for names in (groups, together or {}, {key: prints[key].sha256 for key in keys}):
        links += _chains((names[key], key) for key in keys if key in names)
    if near_bits >= 0:
        values = [prints[key] for key in keys]
        links += [(keys[a], keys[b]) for a, b, *_ in copies(values, values, near_bits) if a < b]
    return _components(keys, links)


def _chains(named: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    last: dict[str, str] = {}
    links = []
    for name, key in named:
        if name in last:
            links.append((last[name], key))
        last[name] = key
    return links


def _components(keys: Sequence[str], links: Iterable[tuple[str, str]]) -> list[list[str]]:
    parent = {key: key for key in keys}

    def find(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for a, b in links:
        parent[find(a)] = find(b)
    members: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        members[find(key)].append(key)
    return list(members.values())
