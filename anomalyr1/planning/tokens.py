"""Tokens of a row: measured on a sample of the benchmark where there is one, else estimated."""

from __future__ import annotations

import random
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anomalyr1.config import Config
from anomalyr1.data.images import image_size
from anomalyr1.data.mixture import mix, read_mixture
from anomalyr1.errors import InputError
from anomalyr1.planning.architecture import Architecture, PolicyShape
from anomalyr1.policy.family import family_of
from anomalyr1.policy.load import load_processor
from anomalyr1.policy.resizing import image_tokens, resized_size
from anomalyr1.prompts import build_messages
from anomalyr1.refusals import refuse, refused_rows
from anomalyr1.rows import Row, build_rows, open_benchmark
from anomalyr1.schema import Question, Sample
from anomalyr1.shared_prefix.prefixes import Prompt, beginning
from anomalyr1.training.image_groups import by_image

# Images whose rows are measured; more change the longest row little and take long.
SAMPLE = 200
# English text of Qwen's vocabulary, where there is no tokenizer to count with.
LONGEST_KNOWLEDGE = 9500  # characters that MMAD's domain_knowledge.json has of one product at most
CHARACTERS_A_TOKEN = 4
# Guess of a completion's mean length as a share of the longest allowed.
MEAN_COMPLETION = 0.5

_TYPICAL = Question(
    "There is a defect in the object. What is the type of the defect?",
    "Defect Classification",
    {"A": "Broken.", "B": "Contamination.", "C": "Faulty imprint.", "D": "Scratch."},
    "A",
)


@dataclass(frozen=True)
class PromptTokens:
    """Prompts of a run.

    Attributes:
        source: how this was found, in words.
        rows: questions measured; 0 where it is estimated.
        longest: tokens of the longest prompt.
        mean: tokens of the mean prompt.
        over: rows longer than `prompt.max_prompt_tokens`, which `train` refuses.
        images: of the row with the most patches.
        patches: of all images of that row.
        of_image: tokens that the longest prompt shares with the other questions about its images,
            where these are computed once; else 0.
        questions: about the same images in a rollout, on average; 1 where they come singly.
    """

    source: str
    rows: int
    longest: int
    mean: float
    over: int
    images: int
    patches: int
    of_image: int = 0
    questions: float = 1.0

    @property
    def patches_an_image(self) -> int:
        """Patches of one image on average, in that row."""
        return -(-self.patches // self.images) if self.images else 0


def sharing_ratio(
    prompt: float,
    completion: float,
    generations: int,
    of_image: float = 0,
    questions: float = 1,
) -> float:
    """How many times fewer tokens a shared prefix computes for whole groups.

    G(P+C) / (P+GC) for one prompt; where Q of them share I tokens of their images,
    QG(P+C) / (I + Q(P-I+GC)).

    >>> round(sharing_ratio(1000, 250, 8), 2)
    3.33
    >>> round(sharing_ratio(1284, 150, 8, of_image=1224, questions=4.7), 1)
    7.5
    """
    rows = questions * generations * (prompt + completion)
    own = prompt - of_image + generations * completion
    return rows / (of_image + questions * own)


def prompt_tokens(config: Config, architecture: Architecture) -> PromptTokens:
    """Measure the prompts of the training questions, or estimate them from the config.

    Args:
        config: the run.
        architecture: tells the family, and the size of a patch where there is no processor.

    Raises:
        InputError: the processor would refuse some of the questions; they are named.
    """
    processor: Any = None
    if architecture.here:
        try:
            processor = load_processor(config.policy)
        except InputError:
            processor = None
    faults: list[str] = []
    rows: list[Row] = []
    why = "the benchmark is not here"
    try:
        samples, types = _samples(config), config.data.question_types
        faults = refused_rows(samples, config.prompt, processor, question_types=types)
        if samples and processor is not None and not faults:
            chosen = random.Random(config.seed).sample(samples, min(SAMPLE, len(samples)))
            # Rows that are too long are counted here and not refused.
            prompt = replace(config.prompt, max_prompt_tokens=sys.maxsize)
            family = family_of(architecture.config.model_type)
            rows = build_rows(chosen, prompt, processor, family, question_types=types)
    except InputError as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        why = f"the benchmark cannot be read: {reason}"
    refuse(faults)
    if rows:
        found = _measured(rows, config.prompt.max_prompt_tokens, processor)
        return _with_images(found, rows, processor) if config.data.group_by_image else found
    why = "the tokenizer is not here" if processor is None else why
    return _estimated(config, architecture.config, processor, why)


def _samples(config: Config) -> list[Sample]:
    """The images of the training data; none where it is not on this machine."""
    data = config.data
    if data.mixture is not None and Path(data.mixture).is_file():
        parts = enumerate(read_mixture(Path(data.mixture)))
        return [s for number, part in parts for s in mix([part], seed=config.seed + number)]
    if data.benchmark is not None and Path(data.benchmark).exists():
        return open_benchmark(
            data.benchmark,
            "data.benchmark",
            config.prompt,
            root=data.root,
            limit=data.limit,
            seed=config.seed,
        )[1]
    return []


def _measured(rows: list[Row], limit: int, processor: Any) -> PromptTokens:
    merged = processor.image_processor.merge_size**2
    sizes: dict[str, int] = {}
    for path in {path for row in rows for path in row.images}:
        resized = resized_size(*image_size(Path(path)), processor)
        sizes[path] = merged * image_tokens(resized, processor)
    widest = max(rows, key=lambda row: sum(sizes[path] for path in row.images))
    return PromptTokens(
        source=f"measured on {len(rows)} questions of {len({r.sample.image for r in rows})} images",
        rows=len(rows),
        longest=max(row.tokens for row in rows),
        mean=sum(row.tokens for row in rows) / len(rows),
        over=sum(row.tokens > limit for row in rows),
        images=len(widest.images),
        patches=sum(sizes[path] for path in widest.images),
    )


def _with_images(found: PromptTokens, rows: Sequence[Row], processor: Any) -> PromptTokens:
    """What the questions of an image share, at most, and how many there are on average."""
    groups, shared = by_image(rows), [0]
    for group in groups:
        texts = [
            processor.tokenizer.apply_chat_template(
                rows[number].messages, add_generation_prompt=True, return_dict=False
            )
            for number in group
        ]
        prompts = [
            Prompt(ids, (ids == processor.image_token_id).long())
            for ids in map(torch.tensor, texts)
        ]
        if alike := beginning(prompts):
            shared.append(alike + rows[group[0]].tokens - len(texts[0]))
    return replace(found, of_image=max(shared), questions=len(rows) / len(groups))


def _estimated(
    config: Config, architecture: PolicyShape, processor: Any, reason: str
) -> PromptTokens:
    """Every image as large as it may be, and a typical question."""
    vision, prompt = architecture.vision_config, config.prompt
    images = prompt.references + 1
    side = vision.patch_size * vision.spatial_merge_size
    merged = config.policy.max_pixels // side**2
    messages = build_messages(
        Sample("dataset/class/test/defect/000.png", Path(), (_TYPICAL,)),
        _TYPICAL,
        prompt.template,
        references=prompt.references,
    )
    if processor is not None:
        text = processor.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        words = len(processor.tokenizer(text, add_special_tokens=False)["input_ids"]) - images
    else:
        parts = [part for message in messages for part in message["content"]]
        characters = sum(len(part.get("text", "")) for part in parts)
        # Role lines of three messages and a pair of marks around each image.
        words = characters // CHARACTERS_A_TOKEN + 3 * 5 + 2 * images
    if prompt.domain_knowledge is not None:
        words += prompt.knowledge_tokens or LONGEST_KNOWLEDGE // CHARACTERS_A_TOKEN
    tokens = words + images * merged
    return PromptTokens(
        source=f"estimated, {reason}: {images} x {merged} image tokens and {words} of text",
        rows=0,
        longest=tokens,
        mean=float(tokens),
        over=int(tokens > prompt.max_prompt_tokens),
        images=images,
        patches=images * merged * vision.spatial_merge_size**2,
    )
