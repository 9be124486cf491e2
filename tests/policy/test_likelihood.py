"""The likelihood of letters is that of a plain pass over one prompt and its tokens."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pictures import noise

from anomalyr1.config import PolicyConfig
from anomalyr1.policy.generate import Completion, complete_asked
from anomalyr1.policy.likelihood import letter_likelihoods
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.prepared import KeptReferences, prepare_conversations
from anomalyr1.prompts import build_messages, template_for
from anomalyr1.schema import Question, Sample
from anomalyr1.shared_prefix.attention import prepare

YES_NO = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."})
SEVEN = Question(
    "What is in the image? Is there a defect in the object?",
    "Object Classification",
    dict(zip("ABCDEFG", ("Nut.", "Pill.", "Tile.", "Cap.", "Lid.", "Rod.", "Pin."), strict=True)),
)
WHERE = Question("Locate every defect in the image.", "Defect Grounding")
A, B, REFERENCE = noise(0, 112, 112), noise(1, 140, 84), noise(2, 112, 84)
# Image and question of each row; prompts of several lengths, so that most are padded.
ROWS = [(A, YES_NO), (B, SEVEN), (A, SEVEN), (A, WHERE), (B, YES_NO)]
REASONED = [
    "<think>The rim is bent. So the answer is B.</think>\n<answer>B</answer>",
    "<think>It is a tile.</think><answer>\n(C)</answer>",
    "<think>It is",  # cut off by its budget
    '<think>None.</think><answer>[{"bbox_2d": [1, 2, 3, 4]}]</answer>',
    "<think>Even.</think>\n<answer>there is none</answer>",
]


@pytest.fixture(scope="module", params=["sdpa", "eager", "adapter", "Qwen3-VL"])
def policy(request, tiny_policy, tiny_qwen3, tmp_path_factory):
    path = tiny_qwen3 if request.param == "Qwen3-VL" else tiny_policy
    if request.param == "adapter":
        model = load_policy(PolicyConfig(path=str(tiny_policy))).model
        torch.manual_seed(0)
        targets = ["q_proj", "v_proj", "down_proj"]
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.2)
        path = tmp_path_factory.mktemp("adapter")
        adapted.save_pretrained(path)
        load_policy(PolicyConfig(path=str(tiny_policy))).processor.save_pretrained(path)
    attention = "eager" if request.param == "eager" else "sdpa"
    section = PolicyConfig(path=str(path), max_pixels=112 * 112, attention=attention)
    loaded = load_policy(section)
    assert prepare(loaded.model) is None
    return loaded, load_policy(section)


def conversations(references: int = 1):
    return [
        build_messages(
            Sample("D/tile/1.png", "", (question,)),
            question,
            template_for(question),
            references=references,
        )
        for _, question in ROWS
    ]


def plain_logps(policy, number, references, before, paths):
    """Letter by letter, token by token, each in a pass of its own over the whole text."""
    image, _ = ROWS[number]
    shown = [REFERENCE] * references
    text = policy.processor.apply_chat_template(
        conversations(references)[number], tokenize=False, add_generation_prompt=True
    )
    inputs = policy.processor(text=[text], images=[[*shown, image]], return_tensors="pt")
    logps = {}
    for letter, tokens in paths.items():
        said = torch.tensor([[*before, *tokens]])
        whole = {
            **inputs,
            "input_ids": torch.cat([inputs["input_ids"], said], 1),
            "attention_mask": torch.ones(1, inputs["input_ids"].size(1) + said.size(1)),
            "mm_token_type_ids": torch.cat(
                [inputs["mm_token_type_ids"], torch.zeros_like(said)], 1
            ),
        }
        with torch.inference_mode():
            logits = policy.model(**whole).logits[0].double().log_softmax(-1)
        start = whole["input_ids"].size(1) - len(tokens)
        logps[letter] = sum(
            float(logits[start + step - 1, token]) for step, token in enumerate(tokens)
        )
    return logps


def written(policy, before, letters):
    """The tokens that this tokenizer gives each letter by itself: a token each, unmerged."""
    tokenizer = policy.processor.tokenizer
    tokens = {letter: tuple(tokenizer.encode(letter)) for letter in letters}
    assert all(len(path) == 1 for path in tokens.values())
    return tuple(tokenizer.encode(before)), tokens


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("references", [0, 1])
def test_it_is_that_of_a_plain_pass(policy, references, share):
    ours, plain = policy
    kept = KeptReferences()
    tokenizer = ours.processor.tokenizer
    questions = [question for _, question in ROWS]
    completions = [Completion(text, tuple(tokenizer.encode(text))) for text in REASONED]
    # Where the letter goes in each, and what stands before it.
    before = [
        "<think>The rim is bent. So the answer is B.</think>\n<answer>",
        "<think>It is a tile.</think><answer>\n(",
        "<think>It is</think>\n<answer>",
        None,
        "<think>Even.</think>\n<answer>",
    ]
    for round_ in range(2):  # what is kept serves the second
        asked = prepare_conversations(
            ours,
            conversations(references),
            [[*[REFERENCE] * references, image] for image, _ in ROWS],
            share=share,
            references=references,
            kept=kept,
        )
        assert (asked.kept is not None) == bool(share and references)
        at_once = letter_likelihoods(asked, questions)
        reasoned = letter_likelihoods(asked, questions, completions)
        if round_ == 0:
            continue
        for number, question in enumerate(questions):
            if question.is_grounding:
                assert at_once[number] is reasoned[number] is None
                continue
            for found, text in ((at_once, "<answer>"), (reasoned, before[number])):
                expected = plain_logps(
                    plain, number, references, *written(plain, text, question.options)
                )
                assert found[number].logps == pytest.approx(expected, abs=1e-4)
    assert [one.forced for one in reasoned if one] == [False, False, True, False]


def test_completions_from_kept_references_are_those_of_stock(policy):
    """Twice, from the same references: the second batch computes none of their tokens."""
    ours, plain = policy
    kept = KeptReferences()
    seen = []
    hook = ours.model.get_input_embeddings().register_forward_hook(
        lambda _, args, __: seen.append(args[0].numel())
    )
    for shown in (A, B):
        images = [[REFERENCE, image] for image in (shown, shown, A, B, B)]
        asked = prepare_conversations(ours, conversations(), images, references=1, kept=kept)
        answers = complete_asked(asked, max_new_tokens=16)
        alone = prepare_conversations(plain, conversations(), images, share=False)
        assert answers == complete_asked(alone, max_new_tokens=16)
        part = complete_asked(asked, [3, 1], max_new_tokens=16)
        assert [one.ids for one in part] == [answers[3].ids, answers[1].ids]
    hook.remove()
    assert seen[0] > 12 and seen.count(seen[0]) == 1  # the references, in the first batch alone


def test_the_oldest_product_is_let_go(policy):
    ours, _ = policy
    kept = KeptReferences(most=2)
    for seed in (5, 6, 5, 7, 5):
        images = [[noise(seed), image] for image, _ in ROWS]
        prepare_conversations(ours, conversations(), images, references=1, kept=kept)
    assert len(kept._held) == 2
