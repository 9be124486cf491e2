"""Letters are weighed in the tokens that a tokenizer writes them in, whatever it merges."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from anomalyr1.policy.letter_tokens import letters_after, letters_at_once

# Qwen2.5's own pattern: a sign may lead a word, so that ">A" is one piece.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LETTERS = "ABCDEFG"
WRITTEN = [f"<think>Even, 好.</think>\n<answer>{letter}</answer>" for letter in "AABBCCDD"]


def tokenizer_of(cut) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([*cut, byte_level])
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(WRITTEN * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")


TOKENIZERS = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)],
    "qwen": [pre_tokenizers.Split(Regex(QWEN), "isolated")],
    # Cut at full stops alone: "A</answer>" and more are single tokens.
    "greedy": [pre_tokenizers.Split(Regex(r"\."), "isolated")],
    "letter by letter": [pre_tokenizers.Split(Regex("."), "isolated")],
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    if request.param == "gpt-2":  # its own byte level is last, and cuts by itself
        return tokenizer_of(
            [pre_tokenizers.Split(Regex(r" ?\p{L}+| ?[^\s\p{L}]+|\s+"), "isolated")]
        )
    return tokenizer_of(TOKENIZERS[request.param])


def as_text(tokenizer, tokens) -> str:
    return tokenizer.decode(list(tokens))


@pytest.mark.parametrize("letter", LETTERS)
def test_an_answer_begins_with_the_tokens_that_its_letter_has(tokenizer, letter):
    """Whatever the policy wrote, its own letter is weighed in its own tokens."""
    text = f"<think>Even, 好.</think>\n<answer>{letter}</answer>"
    own = tokenizer.encode(text)
    found = letters_after(tokenizer, [*own, tokenizer.eos_token_id], LETTERS)
    path = (*found.before, *found.tokens[letter])
    assert list(path) == own[: len(path)]
    assert as_text(tokenizer, path).startswith(text[: text.index("</answer>")])
    assert not found.forced
    for other in LETTERS:
        said = as_text(tokenizer, (*found.before, *found.tokens[other]))
        assert said.startswith(text[: -len(f"{letter}</answer>")] + other)


@pytest.mark.parametrize("letters", ["AB", LETTERS])
def test_at_once_they_are_those_of_the_tag_and_the_letter(tokenizer, letters):
    found = letters_at_once(tokenizer, letters)
    for letter in letters:
        path = [*found.before, *found.tokens[letter]]
        own = tokenizer.encode(f"<answer>{letter}</answer>")
        assert path == own[: len(path)]
    assert len(set(found.tokens.values())) == len(letters)


def test_qwen_writes_the_bracket_and_the_letter_as_one():
    tokenizer = tokenizer_of(TOKENIZERS["qwen"])
    found = letters_at_once(tokenizer, "AB")
    assert {k: as_text(tokenizer, v) for k, v in found.tokens.items()} == {"A": ">A", "B": ">B"}
    assert as_text(tokenizer, found.before) == "<answer"
    rare = letters_at_once(tokenizer, "AG")  # no merge for what was never written
    assert [as_text(tokenizer, [token]) for token in rare.tokens["G"]] == [">", "G"]
    assert [as_text(tokenizer, [token]) for token in rare.tokens["A"]] == [">A"]


@pytest.mark.parametrize(
    ("completion", "before", "forced"),
    [
        # What stands between tag and letter is the policy's own.
        ("<think>x</think><answer>\n( b", "<think>x</think><answer>\n( ", False),
        ("<think>x</think><answer> **C**. Rim", "<think>x</think><answer> **", False),
        # No letter by itself: right behind the tag.
        ("<think>x</think><answer>A scratch", "<think>x</think><answer>", False),
        ("<think>x</think><answer>Yes.</answer>", "<think>x</think><answer>", False),
        ("<think>x</think><answer>Z</answer>", "<think>x</think><answer>", False),
        ("<think>x</think><answer>", "<think>x</think><answer>", False),
        # The first of several answers.
        ("<answer>B</answer><answer>A</answer>", "<answer>", False),
        # None was opened: it is opened behind the reasoning.
        ("<think>好 x", "<think>好 x</think>\n<answer>", True),
        ("<think>x</think>", "<think>x</think>\n<answer>", True),
        ("", "</think>\n<answer>", True),
    ],
)
def test_where_the_letter_goes(tokenizer, completion, before, forced):
    found = letters_after(tokenizer, tokenizer.encode(completion), "ABC")
    assert found.forced is forced
    for letter in "ABC":
        said = as_text(tokenizer, (*found.before, *found.tokens[letter]))
        assert said[: len(before) + 1].lower() == f"{before}{letter}".lower()


def test_the_case_is_that_of_the_answer(tokenizer):
    found = letters_after(tokenizer, tokenizer.encode("<think>x</think><answer>b</answer>"), "ABC")
    path = as_text(tokenizer, (*found.before, *found.tokens["C"]))
    assert path.startswith("<think>x</think><answer>c")
