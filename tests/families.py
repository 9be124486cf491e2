"""Tests of shared prefixes run on a tiny policy of every family that shares them.

The fixture `policy_path` is the folder of a tiny Qwen2.5-VL, then of a tiny Qwen3-VL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

FIRST, SECOND = "tiny_policy", "tiny_qwen3"
SLOW_SECOND = pytest.param(SECOND, marks=pytest.mark.slow)
in_each_family = pytest.mark.parametrize("policy_path", [FIRST, SECOND], indirect=True)
second_slow = pytest.mark.parametrize("policy_path", [FIRST, SLOW_SECOND], indirect=True)


def both_families(
    names: str, cases: Iterable[Any], quick: Collection[Any] = ()
) -> pytest.MarkDecorator:
    """Each case in each family; in the second one it is slow, but for the quick ones.

    Args:
        names: of arguments, as `pytest.mark.parametrize` takes them.
        cases: values of the arguments; of a single one, the values themselves.
        quick: cases in which the families differ the most.
    """
    arguments = names.split(", ")
    values = []
    for family in (FIRST, SECOND):
        for case in cases:
            marks = pytest.mark.slow if family == SECOND and case not in quick else ()
            given = case if len(arguments) > 1 else (case,)
            values.append(pytest.param(family, *given, marks=marks))
    return pytest.mark.parametrize(["policy_path", *arguments], values, indirect=["policy_path"])
