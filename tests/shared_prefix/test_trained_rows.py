"""Rows about the same images behind one copy of them: loss and gradients of whole rows."""

from __future__ import annotations

import pytest
import torch
from families import both_families
from pictures import noise
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from anomalyr1.shared_prefix import prepare
from anomalyr1.shared_prefix.packing import IGNORED
from anomalyr1.shared_prefix.prefixes import Prompt
from anomalyr1.shared_prefix.trained_rows import images_of, pack_rows

SMALL, WIDE = (112, 112), (140, 84)
# Numbers of pictures, the question asked about them, its answer; unsorted, as batches are.
ROWS = [
    ([0, 1], "Is there a defect?", "B"),
    ([], "Tile?", "No tile."),
    ([2], "Where?", "In the middle of it."),
    ([0, 1], "Where is it, please?", "At the left, below the rim."),
    ([2], "Which product is shown?", "A"),
    ([1, 0], "Is there a defect?", "B"),
    ([0, 1], "Is there a defect?", "A"),
    ([0, 1], "Is there a defect?", "B"),
]


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def collated(policy, rows=ROWS) -> dict:
    """A batch as TRL's supervised training lays it out."""
    processor = AutoProcessor.from_pretrained(policy)
    sizes = (SMALL, WIDE, SMALL)
    examples = []
    for pictures, question, answer in rows:
        content = [{"type": "image"}] * len(pictures)
        examples.append(
            {
                "prompt": [{"role": "user", "content": [*content, text(question)]}],
                "completion": [{"role": "assistant", "content": [text(answer)]}],
                "images": [noise(number, *sizes[number]) for number in pictures],
            }
        )
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    return dict(collate(examples))


def losses(model, inputs, labels) -> torch.Tensor:
    """Of every labelled token, in the order of the batch."""
    logps = model(**inputs, use_cache=False).logits[:, :-1].log_softmax(-1)
    asked = labels[:, 1:] != IGNORED
    return -logps[asked].gather(1, labels[:, 1:][asked][:, None])[:, 0]


@both_families("attention, limit", [("sdpa", 1e-9), ("eager", 1e-5)])
def test_loss_and_gradients_are_those_of_whole_rows(attention, limit, policy_path):
    inputs = collated(policy_path)
    labels = inputs.pop("labels")
    inputs["pixel_values"] = inputs["pixel_values"].double()
    found = []
    for shared in (False, True):
        model = AutoModelForImageTextToText.from_pretrained(
            policy_path, attn_implementation=attention, dtype=torch.float64
        )
        if shared:
            assert prepare(model) is None
            packed, given = pack_rows(model.model, {**inputs, "labels": labels})
            own = given.pop("labels")
            own_losses = losses(model, given, own)
        else:
            own_losses = losses(model, inputs, labels)
        own_losses.sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((own_losses.detach().sort().values, gradient))
    (stock, slope), (ours, steepness) = found
    torch.testing.assert_close(ours, stock, rtol=0, atol=limit)
    # Norms and rotations are computed in single precision, forward and backward.
    assert (slope - steepness).norm() <= max(limit, 1e-7) * slope.norm()
    # Four rows about one pair of pictures, two about one picture; two rows stand alone.
    image = inputs["mm_token_type_ids"].sum(1)
    alone = image[[0, 2, 5]].sum().item()
    assert packed.mm_token_type_ids.sum().item() == alone < image.sum().item()
    assert packed.input_ids.size(1) < 0.7 * inputs["attention_mask"].sum().item()
    assert (packed.labels != IGNORED).sum() == (labels != IGNORED).sum()


def test_where_what_is_shared_predicts_a_label_rows_stand_alone(tiny_policy):
    """Labels on questions, and on images: no token may predict for two rows at once."""
    inputs = collated(tiny_policy, [ROWS[0], ROWS[3]])
    rows = inputs["attention_mask"].sum().item()
    model = AutoModelForImageTextToText.from_pretrained(tiny_policy)
    prepare(model)
    short = pack_rows(model.model, inputs)[0].input_ids.size(1)
    for start in (0, 1, 5):
        labelled = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, IGNORED)
        labelled[:, :start] = IGNORED
        packed, _ = pack_rows(model.model, {**inputs, "labels": labelled})
        assert packed.input_ids.size(1) == rows > short


def test_images_that_are_not_the_rows(tiny_policy):
    row = Prompt(torch.zeros(4), torch.ones(4))
    for grids in ([[1, 4, 4], [1, 2, 2]], [[1, 2, 4]], [[1, 4, 6]]):
        with pytest.raises(ValueError, match="expected the image tokens of the rows to be those"):
            images_of([row], torch.tensor(grids), merge=2)
