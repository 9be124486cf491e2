"""Groups as one sequence: who sees whom, and which rows make a group."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.shared_prefix.packed_attention import segments
from anomalyr1.shared_prefix.packing import block_mask, pack, unpack
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix, group_by_images, group_equal
from anomalyr1.shared_prefix.vision import RowImages

CPU = torch.device("cpu")


def prompt(*ids: int, images: int = 0) -> Prompt:
    """Tokens of which the first `images` after the first one are an image's."""
    kinds = [1 if 1 <= place <= images else 0 for place in range(len(ids))]
    return Prompt(torch.tensor(ids), torch.tensor(kinds))


def pixels(*values: float) -> RowImages:
    grid = torch.tensor([[1, 2, 2]])
    return RowImages([torch.full((4, 3), value) for value in values], [grid] * len(values))


def test_groups_need_equal_tokens_and_equal_pixels():
    prompts = [prompt(5, 6), prompt(5, 6), prompt(5, 6), prompt(5, 7)]
    assert group_equal(prompts, None) == [[0, 1, 2], [3]]
    assert group_equal(prompts, pixels(0, 0, 1, 0)) == [[0, 1], [2], [3]]


def test_groups_by_images_need_equal_tokens_up_to_the_last_image_only():
    prompts = [
        prompt(1, 9, 9, 5, images=2),
        prompt(1, 9, 9, 6, images=2),
        prompt(2, 9, 9, 5, images=2),
    ]
    assert group_by_images(prompts, pixels(0, 0, 0)) == [[0, 1], [2]]
    assert group_by_images(prompts, pixels(0, 1, 0)) == [[0], [1], [2]]
    assert group_by_images([prompt(1, 2), prompt(1, 3)], None) == [[0], [1]]


def test_a_common_prefix_leaves_every_row_a_token():
    rows = [torch.tensor(row) for row in ([1, 2, 3], [1, 2, 3, 4], [1, 2])]
    assert common_prefix(rows) == 1
    assert common_prefix(rows[:2]) == 2
    assert common_prefix([torch.tensor([1, 2]), torch.tensor([2, 2])]) == 0


def test_block_mask_by_hand():
    # prompt p0 p1, completion 0 (a0 a1), completion 1 (b0); then a group of one token each
    layout = [*segments(2, [2, 1], CPU), *segments(1, [1], CPU, start=5)]
    assert block_mask(layout)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]


def test_a_group_by_hand():
    places = torch.tensor([[0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3]])  # two tokens of an image
    packed = pack(
        [[0, 1]],
        [prompt(10, 11, 11, 12, images=2)],
        [places],
        completion_ids=torch.tensor([[20, 21], [30, 0]]),
        completion_mask=torch.tensor([[1, 1], [1, 0]]),
    )
    assert packed.input_ids.tolist() == [[10, 11, 11, 12, 20, 21, 12, 30]]
    assert packed.labels.tolist() == [[-100, -100, -100, -100, 20, 21, -100, 30]]
    assert packed.mm_token_type_ids.tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]]
    assert packed.position_ids[2, 0].tolist() == [0, 1, 2, 3, 4, 5, 3, 4]
    assert packed.source.tolist() == [[4, 0], [5, 1], [7, 2]]
    values = torch.arange(8.0)[None]
    assert unpack(packed, values, rows=2, width=2).tolist() == [[4, 5], [7, 0]]


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
        min_size=1,
        max_size=4,
    )
)
def test_every_completion_token_comes_back_to_its_place(groups):
    rows = [length for _, lengths in groups for length in lengths]
    width = max(1, *rows)
    mask = torch.arange(width) < torch.tensor(rows)[:, None]
    ids = torch.arange(1, 1 + len(rows) * width).view(-1, width) * mask
    numbers, prompts, at = [], [], 0
    for size, lengths in groups:
        numbers.append(list(range(at, at + len(lengths))))
        prompts.append(prompt(*range(1000, 1000 + size)))
        at += len(lengths)
    places = [torch.arange(len(p.ids)).expand(3, -1) for p in prompts]
    packed = pack(numbers, prompts, places, ids, mask.long())
    tokens = sum(size - 1 + sum(1 + n for n in lengths) for size, lengths in groups)
    assert packed.input_ids.shape == (1, tokens) == (1, packed.layout[-1].end)
    assert torch.equal(unpack(packed, packed.labels, len(rows), width), ids)
