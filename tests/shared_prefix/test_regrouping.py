"""Micro-batches hold whole groups, and no row is lost or moved to another step."""

from __future__ import annotations

import pytest
import torch

from anomalyr1.shared_prefix.regrouping import regroup


def micro_batch(prompts: list[int], first: int) -> dict:
    """A row a prompt; its completion is a number of its own; prompt n has n + 1 tokens."""
    width = max(prompts) + 1
    ids = torch.tensor([[0] * (width - p - 1) + [p + 1] * (p + 1) for p in prompts])
    rows = len(prompts)
    return {
        "prompt_ids": ids,
        "prompt_mask": (ids > 0).long(),
        "completion_ids": torch.arange(first, first + rows)[:, None],
        "completion_mask": torch.ones(rows, 1, dtype=torch.long),
        "advantages": torch.arange(first, first + rows).float(),
        "num_items_in_batch": torch.tensor(8),
        "old_per_token_logps": None,
    }


def test_rows_of_a_prompt_come_together_within_their_step():
    # Two steps of two micro-batches; the prompts are torn apart by TRL's shuffle.
    torn = [[0, 1, 0, 1], [1, 0, 1, 0], [2, 3, 3, 2], [3, 2, 2, 3]]
    batches = [micro_batch(prompts, 4 * n) for n, prompts in enumerate(torn)]
    result = regroup(batches, per_update=2, pad_id=0)
    prompts = [batch["prompt_ids"].max(1).values.sub(1).tolist() for batch in result]
    assert prompts == [[0] * 4, [1] * 4, [2] * 4, [3] * 4]
    rows = [batch["advantages"].int().tolist() for batch in result]
    assert sorted(rows[0] + rows[1]) == list(range(8))
    assert sorted(rows[2] + rows[3]) == list(range(8, 16))
    for batch in result:
        assert torch.equal(batch["completion_ids"][:, 0].float(), batch["advantages"])
        assert batch["num_items_in_batch"] == 8 and batch["old_per_token_logps"] is None


@pytest.mark.parametrize("per_update", [1, 3])
def test_what_cannot_be_regrouped_is_left_alone(per_update):
    batches = [micro_batch([0, 1], 0), micro_batch([1, 0], 2)]
    assert all(a is b for a, b in zip(regroup(batches, per_update, pad_id=0), batches, strict=True))
