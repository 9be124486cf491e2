"""What a policy's completion carries along: its text, and the tokens that training would count."""

import numpy as np
import pytest
from PIL import Image

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.generate import complete, generate
from anomalyr1.policy.load import load_policy
from anomalyr1.prompts import build_messages
from anomalyr1.schema import Question, Sample
from anomalyr1.shared_prefix.attention import prepare

ASK = Question("Is there a defect in the object?", "Anomaly Detection", {"A": "Yes.", "B": "No."})
PICTURE = Image.fromarray(np.full((112, 112, 3), 90, np.uint8))


@pytest.mark.parametrize("shared", [True, False])
def test_the_tokens_end_where_the_completion_does(tiny_policy, tmp_path, shared):
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=12544))
    if shared:
        assert prepare(policy.model) is None
    asked = [build_messages(Sample("D/tile/1.png", tmp_path, (ASK,)), ASK)] * 2
    pictures = [[PICTURE], [Image.fromarray(255 - np.asarray(PICTURE))]]
    tokenizer = policy.processor.tokenizer

    def answers():
        return complete(policy, asked, pictures, max_new_tokens=12, share=shared)

    policy.model.generation_config.eos_token_id = []
    whole = answers()
    assert [len(one.ids) for one in whole] == [12, 12]
    # A token of the first answer ends it now; the other is padded or longer, as it has it or not.
    end = whole[0].ids[4]
    policy.model.generation_config.eos_token_id = [end, tokenizer.eos_token_id]
    policy.model.generation_config.pad_token_id = tokenizer.pad_token_id
    cut = answers()
    for one, other in zip(whole, cut, strict=True):
        expected = one.ids[: one.ids.index(end) + 1] if end in one.ids else one.ids
        assert other.ids == expected
        assert other.text == tokenizer.decode(list(other.ids), skip_special_tokens=True)
    texts = generate(policy, asked, pictures, max_new_tokens=12, share=shared)
    assert texts == [one.text for one in cut]


def test_a_checkpoints_own_penalty_does_not_act(tiny_policy, tmp_path):
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=12544))
    asked = [build_messages(Sample("D/tile/1.png", tmp_path, (ASK,)), ASK)]

    def answer():
        return complete(policy, asked, [[PICTURE]], max_new_tokens=24)

    plain = answer()
    policy.model.generation_config.repetition_penalty = 5.0
    assert answer() == plain
