"""The rows and heads that teach a letter by its text."""

import random

import pytest
import torch
from torch.nn.functional import cross_entropy

from anomalyr1.config import PolicyConfig
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.policy.load import load_policy
from anomalyr1.schema import OPTION_LETTERS
from anomalyr1.shared_prefix.packing import IGNORED
from anomalyr1.training.curriculum.asking import Asking, completion_loss
from anomalyr1.training.curriculum.image_sets import read_pictures
from anomalyr1.training.curriculum.lessons import LanguageLesson
from anomalyr1.training.curriculum.look_ups import CLOSING_WEIGHT, LetterHeads, look_ups, texts_of

SIDE = 112


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "set"
    synthesize(out, train=12, test=1, seed=5, size=112)
    return read_pictures([out / "train"]).samples


@pytest.fixture
def policy(tiny_policy):
    config = PolicyConfig(path=str(tiny_policy), max_pixels=SIDE**2, freeze_vision=False)
    return load_policy(config, trainable=True)


@pytest.fixture
def asking(policy):
    return Asking(policy.processor, SIDE, SIDE)


@pytest.fixture
def heads(policy):
    torch.manual_seed(0)
    return LetterHeads(policy.model.config.text_config.hidden_size)


def test_a_row_of_options_names_those_that_it_shows():
    texts = [f"Part number {number}." for number in range(9)]
    counts = set()
    for seed in range(40):
        prompt, said = look_ups(texts, random.Random(seed))
        options = dict(line.split(". ", 1) for line in prompt.splitlines())
        assert list(options) == list(OPTION_LETTERS[: len(options)])
        counts.add(len(options))
        named = said.split("This fits: ")[1:]
        assert len(named) == 4
        for sentence in named:
            text, letter = sentence.strip().removesuffix(".").split(". So the answer is ")
            assert options[letter] == f"{text}."
    assert counts == {2, 3, 4}


def parts(policy, lettered, row):
    """What stands at the tokens of each letter in prompt and completion, and the closing ones."""
    ids, labels = lettered.rows.ids[row], lettered.rows.labels[row]
    found = []
    for side in (labels == IGNORED, labels != IGNORED):
        marks = lettered.letters[row]
        found.append(
            {
                OPTION_LETTERS[number]: policy.processor.tokenizer.decode(
                    ids[side & (marks == number)]
                )
                for number in marks[side].unique().tolist()
                if number != IGNORED
            }
        )
    return *found, policy.processor.tokenizer.decode(ids[lettered.closing[row]])


def test_the_tokens_of_an_options_line_and_of_its_text_carry_its_letter(policy, asking, samples):
    """Of questions told in words, every option stands there whole and the closing letter alone."""
    told = asking.about_words(samples * 3, random.Random(1))
    with_options = 0
    for row, ids in enumerate(told.rows.ids):
        lines, said, closing = parts(policy, told, row)
        text = policy.processor.tokenizer.decode(ids[told.rows.mask[row].bool()])
        shown = [line for line in text.splitlines() if line[1:3] == ". "]
        assert [line.replace("\n", "") for line in lines.values()] == shown
        if "This fits:" in text:
            with_options += 1
            gold = text.rpartition("So the answer is ")[2][0]
            assert closing.strip() == gold and list(said) == [gold]
            assert f"{gold}. {said[gold].strip()}" in (line.rstrip(".") for line in shown)
        else:
            assert not said
    assert with_options > 5


def test_every_text_that_a_row_of_options_names_carries_its_letter(policy, asking, samples):
    texts = texts_of(samples)
    assert len(texts) == len(set(texts)) > 20
    rows = asking.about_options(texts, 6, random.Random(2))
    for row in range(6):
        lines, said, closing = parts(policy, rows, row)
        assert [line[:2] for line in lines.values()] == [f"{letter}." for letter in lines]
        named = closing.replace(" ", "")
        assert len(named) == 4 and set(named) == set(said) <= set(lines)
        for letter, text in said.items():
            text_of = lines[letter][3:].strip().rstrip(".")
            assert text.strip() == " ".join([text_of] * named.count(letter))


def test_the_heads_losses_are_those_of_each_token_asked(heads):
    width = heads.line.in_features
    layers = [torch.randn(2, 5, width) for _ in range(6)]
    labels = torch.tensor([[IGNORED, IGNORED, 3, 4, 5], [IGNORED, 3, 4, IGNORED, IGNORED]])
    letters = torch.tensor([[0, 1, IGNORED, 1, 1], [2, IGNORED, 2, IGNORED, IGNORED]])
    found = heads.losses(layers, letters, labels)
    line = [
        cross_entropy(heads.line(layers[1][row, place]), letters[row, place])
        for row, place in ((0, 0), (0, 1), (1, 0))
    ]
    text = [
        cross_entropy(heads.text(layers[3][row, place]), letters[row, place])
        for row, place in ((0, 3), (0, 4), (1, 2))
    ]
    torch.testing.assert_close(found["line"], torch.stack(line).mean())
    torch.testing.assert_close(found["text"], torch.stack(text).mean())
    nothing = heads.losses(layers, torch.full_like(letters, IGNORED), labels)
    assert not any(nothing.values())


def test_a_closing_letter_weighs_as_several_tokens(policy, asking, samples, heads):
    """The completions' loss is the mean in which each closing letter is counted that often."""
    lesson = LanguageLesson(policy, samples, asking, heads, batch=3, look_ups=0, seed=0)
    (told,) = lesson[1]
    rows = told.rows
    with torch.no_grad():
        hidden = policy.model.model(input_ids=rows.ids, attention_mask=rows.mask)[0]
        logits = policy.model.lm_head(hidden)
    total = count = 0.0
    for row, place in (rows.labels != IGNORED).nonzero().tolist():
        weight = CLOSING_WEIGHT if told.closing[row, place] else 1.0
        total += weight * cross_entropy(logits[row, place - 1], rows.labels[row, place]).item()
        count += weight
    assert lesson.backward(lesson[1])["completion"] == pytest.approx(total / count, rel=1e-4)
    plain = completion_loss(policy.model, hidden, rows.labels).item()
    ones = completion_loss(policy.model, hidden, rows.labels, torch.ones_like(rows.labels))
    assert ones.item() == pytest.approx(plain, rel=1e-5) and plain != pytest.approx(total / count)


def test_letters_are_learned_from_rows_of_options(policy, samples, asking, heads):
    """One batch, again and again: the letters that close it are foretold, which chance is not."""
    lesson = LanguageLesson(policy, samples, asking, heads, batch=0, look_ups=4, seed=0)
    batch = lesson[1]
    assert lesson.figures(batch)["letters"] < 0.7
    optimizer = torch.optim.AdamW(lesson.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        losses = lesson.backward(batch)
        optimizer.step()
    assert set(losses) == {"completion", "line", "text"}
    assert lesson.figures(batch)["letters"] > 0.9
