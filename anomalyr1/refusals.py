"""What a policy's processor would refuse or misread, named with its rows before any work starts.

An image that does not decode, or of too extreme a shape, ends a run in its middle. A special token
inside a question is read as the mark itself: the conversation falls apart, or an image is looked
for that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import PromptConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.knowledge import Knowledge, knowledge_for, load_knowledge
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mmad import choose_references
from anomalyr1.errors import InputError, listed
from anomalyr1.geometry import LARGEST_ASPECT_RATIO, too_extreme
from anomalyr1.policy.family import FAMILIES, Family
from anomalyr1.policy.resizing import resized_size
from anomalyr1.prompts import (
    SPECIAL_TOKENS,
    asks_for_boxes,
    smuggled_tokens,
    special_tokens_in,
    template_for,
)
from anomalyr1.schema import Question, Sample
from anomalyr1.terminal import Bar

Asked = tuple[Sample, list[tuple[int, Question]]]  # an image, its questions with their numbers
Size = tuple[int, int]  # (width, height)


def asked_questions(samples: Iterable[Sample], types: Sequence[str] | None) -> Iterator[Asked]:
    """The images that a run asks about, each with its questions of the wanted types."""
    for sample in samples:
        asked = [
            (index, question)
            for index, question in enumerate(sample.questions)
            if types is None or question.type in types
        ]
        if asked:
            yield sample, asked


def require_askable(
    samples: Iterable[Sample],
    prompt: PromptConfig,
    family: Family,
    question_types: Sequence[str] | None = None,
) -> None:
    """Refuse to ask for boxes where nobody knows what this family of policies counts them in.

    Raises:
        InputError: the family and the rows that ask for boxes are named.
    """
    if family.unit is not None:
        return
    asked = [
        f"{sample.image}#{index}"
        for sample, questions in asked_questions(samples, question_types)
        for index, question in questions
        if asks_for_boxes(template_for(question, prompt.template))
    ]
    if asked:
        known = " or ".join(known.name for known in FAMILIES)
        raise InputError(
            f"expected a {known} where boxes are asked for, found {family.name}, whose "
            f"frame of boxes is not known here, and {len(asked)} such question(s): "
            f"{listed(asked)}; ask for letters alone (question_types without "
            "Defect Grounding, prompt.template=choice) or take another policy"
        )


def refused_rows(
    samples: Iterable[Sample],
    prompt: PromptConfig,
    processor: Any | None,
    *,
    question_types: Sequence[str] | None = None,
    sizes: dict[Path, Size] | None = None,
) -> list[str]:
    """What the processor refuses of the questions that a run asks: a line each, its row in front.

    Every image is decoded: its header may be whole where its pixels are cut off.

    Args:
        samples: of the run.
        prompt: says which references and which knowledge are shown.
        processor: of the policy; None checks what every policy of Qwen's families refuses.
        question_types: asked; None asks all.
        sizes: is filled with the sizes of the images shown, by file.

    Raises:
        InputError: the knowledge cannot be read.
    """
    tokens = SPECIAL_TOKENS if processor is None else special_tokens(processor.tokenizer)
    path = prompt.domain_knowledge
    knowledge: Knowledge = {} if path is None else load_knowledge(Path(path))
    sizes = {} if sizes is None else sizes
    questions = list(asked_questions(samples, question_types))
    unread = _open_images(questions, prompt, sizes)
    told: set[tuple[str, str]] = set()
    faults: list[str] = []
    for sample, asked in questions:
        first = f"{sample.image}#{asked[0][0]}"
        for key in _shown(sample, prompt):
            file = sample.root / key
            what = "the image" if key == sample.image else f"the reference {key}"
            if file in sizes:
                refusal = refused_size(sizes[file], processor)
                faults += [f"{first}: {what} has {refusal}"] if refusal else []
            elif file in unread:  # told once, however many show it
                faults.append(f"{first}: {what} is {unread.pop(file)}")
        for index, question in asked:
            boxes = question.boxes or sample.boxes or ()
            found = smuggled_tokens(question, boxes, tokens)
            faults += [f"{sample.image}#{index}: {fault}" for fault in found]
        product = sample.dataset, sample.category
        if product not in told:
            told.add(product)
            text = knowledge_for(knowledge, *product) or ""
            found = special_tokens_in(text, tokens)
            faults += [f"{first}: the knowledge of {product[1]} holds {token}" for token in found]
    return list(dict.fromkeys(faults))


def _open_images(
    questions: Sequence[Asked], prompt: PromptConfig, sizes: dict[Path, Size]
) -> dict[Path, str]:
    """Fill in the sizes of the images shown; returns what is found in place of the others."""
    files = {sample.root / key: None for sample, _ in questions for key in _shown(sample, prompt)}
    wanted = [file for file in files if file not in sizes]
    unread: dict[Path, str] = {}
    with Bar("opening images", len(wanted), plain=False) as bar:
        for number, (file, found) in enumerate(over_files(_size, wanted), start=1):
            bar.to(number)
            if isinstance(found, InputError):
                unread[file] = str(found).partition("found ")[2].rpartition("; ")[0]
            else:
                sizes[file] = found
    return unread


def _size(path: Path) -> Size:
    return open_image(path).size


def _shown(sample: Sample, prompt: PromptConfig) -> tuple[str, ...]:
    """The image and its references, by key."""
    references = choose_references(sample, prompt.references, prompt.reference_kind)
    return sample.image, *references


def refuse(faults: Sequence[str]) -> None:
    """Stop where there is anything that the processor would refuse.

    Raises:
        InputError: one line that counts the faults and names the first of them.
    """
    if not faults:
        return
    raise InputError(
        "expected questions and images that the processor of the policy takes, found "
        f"{len(faults)} that it refuses: {listed(faults, separator='; ')}; mend them, or leave "
        "them out of the benchmark"
    )


def refused_size(size: Size, processor: Any | None = None) -> str | None:
    """What is wrong with the shape of an image, in words; None where nothing is."""
    refused = too_extreme(*size)
    if processor is not None:
        try:
            resized_size(*size, processor)
            refused = False
        except ValueError:
            refused = True
    shape = f"{size[0]} x {size[1]} pixels, more than {LARGEST_ASPECT_RATIO} to 1"
    return shape if refused else None


def special_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Texts that this tokenizer reads as marks of the conversation."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(sorted({token.content for token in added if token.special}))
