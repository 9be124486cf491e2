"""Image, questions, completions: the tree's log-probabilities and gradients are those of rows."""

from __future__ import annotations

import torch
from families import both_families
from pictures import noise
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.shared_prefix import Prompt, RowImages, plain_score, prepare, shared_logps
from anomalyr1.shared_prefix.prefixes import beginning

SMALL, WIDE = (112, 112), (140, 84)
ASKED = [
    ([0, 1], "Is there a defect?"),
    ([2], "Where is it?"),
    ([0, 1], "Where is it, please?"),
    ([], "Tile?"),
    ([0, 1], "Is there a defect in the object?"),
    ([1, 0], "Is there a defect?"),
]
# Rows in no order: up to three completions a question, of these lengths.
ROWS = [(0, 6), (2, 3), (1, 1), (0, 5), (3, 2), (4, 4), (2, 6), (0, 1), (5, 3), (1, 2)]


def batch(policy) -> dict:
    processor = AutoProcessor.from_pretrained(policy)
    processor.tokenizer.padding_side = "left"
    texts, images = [], []
    for number, _ in ROWS:
        pictures, question = ASKED[number]
        content = [{"type": "image"}] * len(pictures) + [{"type": "text", "text": question}]
        said = [{"role": "user", "content": content}]
        texts.append(processor.apply_chat_template(said, add_generation_prompt=True))
        images.append([noise(n, *(SMALL, WIDE, SMALL)[n]) for n in pictures])
    inputs = processor(text=texts, images=images, padding=True, return_tensors="pt")
    return {**inputs, "num_images": [len(row) for row in images]}


IN_CHUNKS = ("sdpa", {"chunk_tokens": 9}, 1e-9)


@both_families(
    "attention, options, limit",
    [("sdpa", {}, 1e-9), IN_CHUNKS, ("sdpa", {"budget": 220}, 1e-9), ("eager", {}, 1e-4)],
    quick=[IN_CHUNKS],
)
def test_a_tree_of_questions_gives_the_numbers_of_rows(attention, options, limit, policy_path):
    inputs = batch(policy_path)
    # Eager attention leaves no number on padding in double precision.
    dtype = torch.float32 if attention == "eager" else torch.float64
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    lengths = torch.tensor([length for _, length in ROWS])
    ids = torch.randint(20, 200, (len(ROWS), 6), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(6) < lengths[:, None]).long()
    found, sizes = [], []
    for by_image in (None, False, True):
        model = AutoModelForImageTextToText.from_pretrained(
            policy_path, attn_implementation=attention, dtype=dtype
        )
        if by_image is None:
            whole = {
                "input_ids": torch.cat([inputs["input_ids"], ids], 1),
                "attention_mask": torch.cat([inputs["attention_mask"], mask], 1),
                "mm_token_type_ids": torch.cat([inputs["mm_token_type_ids"], 0 * ids], 1),
                "pixel_values": inputs["pixel_values"],
                "image_grid_thw": inputs["image_grid_thw"],
            }
            each = (model(**whole).logits[:, -7:-1] / 0.7).float().log_softmax(-1)
            logps = each.gather(2, ids[..., None])[..., 0] * mask
        else:
            assert prepare(model) is None
            score = plain_score(0.7)

            def scored(model, given, packed, score=score):
                sizes.append(packed.input_ids.size(1))
                return score(model, given, packed)

            logps, _ = shared_logps(
                model,
                Prompt.of_batch(inputs),
                RowImages.of_batch(inputs),
                ids,
                mask,
                score=scored,
                by_image=by_image,
                **options,
            )
        (logps * torch.arange(1, len(ROWS) + 1)[:, None]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((logps.detach(), gradient))
    (stock, slope), *others = found
    for logps, gradient in others:
        # Log-probabilities are worked out in single precision.
        torch.testing.assert_close(logps, stock, rtol=0, atol=max(limit, 1e-6))
        assert (gradient - slope).norm() <= max(limit, 1e-6) * slope.norm()
    assert sum(sizes[len(sizes) // 2 :]) < sum(sizes[: len(sizes) // 2])


def prompt(*ids: int, images: int = 0) -> Prompt:
    return Prompt(torch.tensor(ids), (torch.arange(len(ids)) < images).long())


def test_what_prompts_begin_with():
    asked = [prompt(9, 9, 1, 2, 3, images=2), prompt(9, 9, 1, 4, 5, images=2)]
    assert beginning(asked) == 3
    assert beginning(asked[:1]) == 0
    # Each keeps a token of its own and its last one.
    assert beginning([asked[0], prompt(9, 9, 1, 2, images=2)]) == 2
    assert beginning([asked[0], prompt(9, 9, 1, images=2)]) == 0
