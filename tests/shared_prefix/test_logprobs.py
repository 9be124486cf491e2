"""The log-probability pass as a function of a model, with nothing but transformers around it."""

from __future__ import annotations

import torch
from families import both_families
from pictures import noise
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.shared_prefix import Prompt, RowImages, plain_score, prepare, shared_logps

LENGTHS = [6, 3, 1, 5]


def questions(processor) -> dict:
    """Two prompts of two rows each: one with an image, one without."""
    texts = [
        processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        for content in (
            [{"type": "image"}, {"type": "text", "text": "Is there a defect in the object?"}],
            [{"type": "text", "text": "Tile?"}],
        )
    ]
    inputs = processor(
        text=[texts[0], texts[0], texts[1], texts[1]],
        images=[[noise(0)], [noise(0)], [], []],
        padding=True,
        return_tensors="pt",
    )
    return {**inputs, "num_images": [1, 1, 0, 0]}


@both_families(
    "attention, budget",
    [("sdpa", None), ("sdpa", 1), ("eager", None), ("eager", 1)],
    quick=[("eager", 1)],
)
def test_plain_transformers_gives_the_same_numbers(attention, budget, policy_path):
    processor = AutoProcessor.from_pretrained(policy_path)
    processor.tokenizer.padding_side = "left"
    inputs = questions(processor)
    ids = torch.randint(20, 200, (4, 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < torch.tensor(LENGTHS)[:, None]).long()
    found = []
    for shared in (False, True):
        model = AutoModelForImageTextToText.from_pretrained(
            policy_path, attn_implementation=attention
        )
        if shared:
            assert prepare(model) is None
            logps, entropies = shared_logps(
                model,
                Prompt.of_batch(inputs),
                RowImages.of_batch(inputs),
                ids,
                mask,
                score=plain_score(0.7, entropy=True),
                budget=budget,
            )
        else:
            whole = {
                "input_ids": torch.cat([inputs["input_ids"], ids], 1),
                "attention_mask": torch.cat([inputs["attention_mask"], mask], 1),
                "mm_token_type_ids": torch.cat([inputs["mm_token_type_ids"], 0 * ids], 1),
                "pixel_values": inputs["pixel_values"],
                "image_grid_thw": inputs["image_grid_thw"],
            }
            each = (model(**whole).logits[:, -7:-1] / 0.7).log_softmax(-1)
            logps = each.gather(2, ids[..., None])[..., 0] * mask
            entropies = -(each.exp() * each).sum(-1) * mask
        (logps * torch.arange(1, 5)[:, None]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((logps.detach(), entropies.detach(), gradient))
    (a, ea, ga), (b, eb, gb) = found
    assert torch.allclose(a, b, atol=1e-5) and torch.allclose(ea, eb, atol=1e-5)
    assert (b != 0).sum() == sum(LENGTHS) and (b[mask == 0] == 0).all()
    assert ga.shape == gb.shape and (ga - gb).norm() <= 1e-4 * ga.norm()


def test_spare_passes_change_nothing(tiny_policy):
    """Where another process needs more, this one repeats its last pass and drops what it gives."""
    processor = AutoProcessor.from_pretrained(tiny_policy)
    model = AutoModelForImageTextToText.from_pretrained(tiny_policy)
    prepare(model)
    inputs = questions(processor)
    ids, mask = torch.full((4, 2), 40), torch.ones(4, 2, dtype=torch.long)
    made = []

    def passes(needed: int) -> int:
        made.append(needed)
        return needed + 2

    given = (model, Prompt.of_batch(inputs), RowImages.of_batch(inputs), ids, mask)
    with torch.no_grad():
        plain, none = shared_logps(*given, score=plain_score(), budget=1)
        padded, _ = shared_logps(*given, score=plain_score(), budget=1, passes=passes)
    assert none is None and made == [2]
    assert torch.equal(plain, padded)
