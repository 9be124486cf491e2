"""Completions that nobody sane writes, drawn from a grammar: the same seed gives the same ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

TAGS = [
    "<think>", "</think>", "<answer>", "</answer>", "<Think>", "</THINK>", "<ANSWER>", "</Answer>",
    "<think", "think>", "< think >", "<think/>", "</answer >", "<answer x='1'>", "<//answer>",
    "<<think>>", "&lt;think&gt;", "＜think＞", "<th\u200bink>", "<answer>\0", "</think><think>",
    "<answer></answer>", "<think></think>", "<|im_end|>", "<|vision_start|>", "</s>",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "10", "30.5", "1e3", "1e308", "-1e308", "1e999", "-1e999", "1e-320", "9" * 25,
    "9" * 200, "1" * 400, "9" * 5000, "NaN", "-NaN", "Infinity", "-Infinity", "inf", "1e+", "0x1F",
    "1_000", "１２", "٣", "1.2.3", "--4", "+5", ".5", "5.", "1,000", "true", "null", "None",
    '"7"', "[8]", "½", "1e200", "-1e200", "4.9e-324",
]  # fmt: skip
LETTERS = [
    "A", "b", "Ｂ", "В", "Β", "(C)", "**D**", "\\boxed{A}", "A or B", "A, B, C, D", "E", "Z", "AA",
    "答案是B", "B. Yes.", "Yes.", "no", "option  A", "A\nB", "ⓐ", "🅰", "A\u0301", "\u202eB",
]  # fmt: skip
SENTENCES = [
    "So the answer is A. ", "So the answer is not B. ", "The answer is ", "Wait, ", "answer ",
    "So the product is abnormal. ", "So the product is normal. ", "There is no defect. ",
    "If the answer is A, then B. ", "没有缺陷。", "答案是B。", "It isn't not abnormal. ",
    "no defect or flaw or scratch or no ", "compared to the normal reference ", "so, so, so ",
]  # fmt: skip
CHARACTERS = [
    "\ud800", "\udfff", "\ude00\ud83d", "\0", "\x1b[2J", "\r\n", "\r", "\u2028", "\u202e", "\u200f",
    "\ufeff", "\u200d", "\ufdfa", "a" + "\u0301" * 40, "\U0001f469\u200d\U0001f527", "\x7f", "İ",
    "ﬀ", "ß", "\U000e0041", "\uffff", "\t", "\x0b", "\x85",
]  # fmt: skip
HTML = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!-- ", " -->", "<![CDATA[",
    "&#x3c;answer&#x3e;", "<svg/onload=alert(1)>", "</pre></script><b>", "${7*7}", "{{7*7}}",
    "'; DROP TABLE parts; --", "../../etc/passwd", "%s%n%d", "```json\n", "```", "$$\\frac{1}{0}$$",
]  # fmt: skip
KEYS = ["bbox_2d", "bbox", "box", "label", "BBOX", "", "__proto__", "\ud800", "points"]
UNITS = [
    *TAGS,
    *SENTENCES,
    *CHARACTERS,
    "[",
    "{",
    "(",
    "]",
    '"',
    "\\",
    "1,",
    "[[1,2,3,4],",
    "A ",
    " ",
]
HONEST = [
    "<think>A chip at the left. So the answer is B.</think><answer>B</answer>",
    "<think>A scratch. So the product is abnormal.</think>\n<answer>"
    '[{"bbox_2d": [10, 10, 30, 30], "label": "scratch"}]</answer>',
    "<think>Even. So the answer is A.</think><answer>A\n[]</answer>",
]


def hostile_completions(seed: int, count: int) -> Iterator[str]:
    """So many completions; one in some hundreds is of 100,000 characters or more."""
    rng = random.Random(seed)
    makers = [_soup, _soup, _shaped, _shaped, _mutated, _mutated, _list, _repeated]
    for _ in range(count):
        maker: Callable[[random.Random], str] = rng.choice(makers)
        yield maker(rng)


def boxes(rng: random.Random) -> str:
    """A list of boxes, or something like one."""
    entries = []
    for _ in range(rng.choice([0, 1, 1, 2, 3, 12])):
        corners = [rng.choice(NUMBERS) for _ in range(rng.choice([4, 4, 4, 4, 3, 5, 0]))]
        if rng.random() < 0.5:
            corners = [str(rng.randint(-50, 150)) for _ in range(4)]
        entry = f"[{', '.join(corners)}]"
        if rng.random() < 0.5:
            key = json.dumps(rng.choice(KEYS[:3] if rng.random() < 0.8 else KEYS))
            label = json.dumps(_piece(rng), ensure_ascii=rng.random() < 0.5)
            entry = f'{{{key}: {entry}, "label": {label}}}'
        entries.append(entry)
    return f"[{', '.join(entries)}]"


def _piece(rng: random.Random) -> str:
    kind = rng.choice([TAGS, TAGS, NUMBERS, LETTERS, SENTENCES, CHARACTERS, HTML, None])
    return boxes(rng) if kind is None else rng.choice(kind)


def _soup(rng: random.Random) -> str:
    return "".join(_piece(rng) for _ in range(rng.randint(0, 40)))


def _shaped(rng: random.Random) -> str:
    """The form that is asked for, with anything in it."""
    thought = "".join(_piece(rng) for _ in range(rng.randint(0, 6))).replace("<", "‹")
    answer = rng.choice([boxes(rng), rng.choice(LETTERS), f"{rng.choice(LETTERS)}\n{boxes(rng)}"])
    return f"<think>{thought}{rng.choice(SENTENCES)}</think><answer>{answer}</answer>"


def _mutated(rng: random.Random) -> str:
    """An honest completion that was cut, doubled, shuffled or written into."""
    text = rng.choice(HONEST)
    for _ in range(rng.randint(1, 6)):
        start, end = sorted(rng.randint(0, len(text)) for _ in range(2))
        change = rng.randint(0, 4)
        if change == 0:
            text = text[:start] + text[end:]
        elif change == 1:
            text = text[:end] + text[start:]
        elif change == 2:
            text = text[:start] + _piece(rng) + text[start:]
        elif change == 3:
            text = text[:start] + text[start:end].swapcase() + text[end:]
        else:
            text = text[:start] + text[start:end][::-1] + text[end:]
    return text


def _list(rng: random.Random) -> str:
    """Boxes with a character too few or too many, or nested deeply."""
    text = boxes(rng)
    if rng.random() < 0.2:
        depth = rng.choice([5, 50, 2_000])
        text = rng.choice(["[", "[[1,", '{"bbox_2d":', "("]) * depth + text + "]" * depth
    place = rng.randint(0, len(text))
    text = text[:place] + rng.choice(["", *"[]{}(),:'\"\\"]) + text[place + rng.randint(0, 1) :]
    return f"<think>Odd. So the product is abnormal.</think><answer>{text}</answer>"


def _repeated(rng: random.Random) -> str:
    unit = rng.choice(UNITS)
    characters = rng.choice([100, 1_000, 1_000, 10_000] if rng.random() < 0.97 else [100_000])
    text = unit * (characters // len(unit) + 1)
    place = rng.choice(["{}", "<think>{}</think><answer>B</answer>", "<answer>{}</answer>"])
    return place.replace("{}", text)
