"""Cards are told apart field by field; a value is shown so that a line can hold it."""

from __future__ import annotations

import pytest

from anomalyr1.settings_card import differences, flat, shown

CARD = {"policy": {"path": "a", "revision": None}, "references": 1, "versions": {}}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (CARD, []),
        ({**CARD, "references": 0}, ["references (1 and 0)"]),
        ({**CARD, "references": None}, ["references (1 and none)"]),
        ({**CARD, "policy": {"path": "b", "revision": None}}, ["policy.path (a and b)"]),
        ({**CARD, "policy": {"path": "a", "revision": "r"}}, ["policy.revision (none and r)"]),
        ({**CARD, "pixels": [1, 2]}, ["pixels (none and 1, 2)"]),
    ],
)
def test_differences_are_named_with_both_values(other, told):
    assert differences(CARD, other) == told


def test_a_hash_is_told_apart_by_its_ends_in_a_line_and_whole_in_the_comparison():
    ends = "0" * 20, "f" * 20
    one, other = (f"{ends[0]}{middle * 24}{ends[1]}" for middle in "ab")
    assert shown(one) == shown(other) == "000000000000…ffffffffffff"
    assert differences({"sha256": one}, {"sha256": other}) != []


def test_a_card_within_a_card_is_flat():
    assert flat({"a": {"b": {"c": 1}, "d": {}}}) == {"a.b.c": 1, "a.d": {}}
