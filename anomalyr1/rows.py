"""Benchmark questions as the policy meets them: the one path from a Sample to a prompt.

SFT, GRPO, evaluation and prediction all take their rows from here, so that their prompts are equal
token for token.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import ProcessorMixin

from anomalyr1.config import PromptConfig
from anomalyr1.data.knowledge import KnowledgeTexts
from anomalyr1.data.limited import stratified
from anomalyr1.data.manifest import count
from anomalyr1.data.mmad import Benchmark, choose_references, load_benchmark, missing_files
from anomalyr1.data.shots import training_shots
from anomalyr1.data.shuffling import shuffle_options
from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.policy.family import Family
from anomalyr1.policy.resizing import image_tokens, model_frame, resized_size
from anomalyr1.prompts import (
    Template,
    build_messages,
    gold_in_model,
    template_for,
    without_images,
)
from anomalyr1.refusals import Size, asked_questions, refuse, refused_rows, require_askable
from anomalyr1.schema import Box, Question, Sample


@dataclass(frozen=True)
class Row:
    """One question as the policy meets it.

    Attributes:
        sample: the image with its gold.
        index: the question's place in the sample.
        question: the question, options in the order shown.
        template: the prompt template in use.
        messages: the conversation; image placeholders in the order of `images`.
        images: paths, references first, the query last.
        references: the reference images' paths relative to the root.
        size: the query image's (width, height) in pixels.
        frame: the query image's model frame; None where the policy's family has none that is known.
        tokens: length of the prompt in tokens, image tokens included.
        knowledge: what the prompt says about the product; None where it says nothing.
        conclusion: the option that gold reasoning closes on; None where that is the answer.
    """

    sample: Sample
    index: int
    question: Question
    template: Template
    messages: list[dict[str, Any]]
    images: tuple[str, ...]
    references: tuple[str, ...]
    size: tuple[int, int]
    frame: Frame | None
    tokens: int
    knowledge: str | None = None
    conclusion: str | None = None

    @property
    def sample_id(self) -> str:
        """Names the row in logs and errors."""
        return f"{self.sample.image}#{self.index}"

    @property
    def gold_in_model(self) -> tuple[Box, ...] | None:
        """Gold boxes in the model frame where the answer asks for boxes and they are known."""
        if self.frame is None:
            return None
        return gold_in_model(
            self.sample.gold_boxes(self.question), self.question, self.template, self.frame
        )


def build_rows(
    samples: Iterable[Sample],
    prompt: PromptConfig,
    processor: ProcessorMixin,
    family: Family,
    *,
    question_types: Sequence[str] | None = None,
    blind: bool = False,
) -> list[Row]:
    """Every question of every sample, shown as the prompt section says.

    Args:
        samples: images with their questions.
        prompt: how they are asked.
        processor: counts tokens and resizes.
        family: of the policy; decides what boxes are counted in.
        question_types: asked; None asks all.
        blind: show no image.

    Raises:
        InputError: boxes are asked of a family whose frame is not known, the processor refuses an
            image or a text, or a prompt is longer than `prompt.max_prompt_tokens`; rows are named.
    """
    samples = list(samples)
    require_askable(samples, prompt, family, question_types)
    sizes: dict[Path, Size] = {}
    refuse(refused_rows(samples, prompt, processor, question_types=question_types, sizes=sizes))
    rows = list(_rows(samples, prompt, processor, family, question_types, sizes, blind))
    if not rows:
        kept = f" of the types {', '.join(question_types)}" if question_types else ""
        raise InputError(f"expected at least one question{kept}, found none; check the benchmark")
    long = [row for row in rows if row.tokens > prompt.max_prompt_tokens]
    if long:
        named = ", ".join(f"{row.sample_id} ({row.tokens})" for row in long)
        raise InputError(
            f"expected prompts of at most {prompt.max_prompt_tokens} tokens, found {len(long)} "
            f"longer: {named}; raise prompt.max_prompt_tokens or lower policy.max_pixels"
        )
    return rows


def open_benchmark(
    path: str | None,
    key: str,
    prompt: PromptConfig,
    *,
    root: str | None = None,
    limit: int | None = None,
    by_strata: bool = False,
    shots: int | None = None,
    shuffle: int | None = None,
    seed: int = 0,
) -> tuple[Benchmark, list[Sample]]:
    """A benchmark and the samples of it that a run uses, every file there.

    Args:
        path: folder or mmad.json; `key` names the config key it came from.
        key: for the error message.
        prompt: says how many references a sample needs.
        root: where the images are, if not where the benchmark says.
        limit: keep so many images, chosen from `seed`; None keeps all.
        by_strata: choose them by data set, class and label.
        shots: keep so many images of each (category, defect), as far as there are, and as many
            normal ones, chosen from `seed`; None keeps all.
        shuffle: reorder the options of every question from this seed; None leaves them.
        seed: of the choice of images.

    Raises:
        InputError: there is no benchmark, or images are missing; all of them are named.
    """
    if path is None:
        raise InputError(f"expected a benchmark folder at {key}, found none; set {key}=FOLDER")
    benchmark = load_benchmark(Path(path), root=None if root is None else Path(root))
    samples = list(benchmark.samples)
    if limit is not None and by_strata:
        samples = stratified(samples, limit, seed)
    elif limit is not None and limit < len(samples):
        kept = sorted(random.Random(seed).sample(range(len(samples)), limit))
        samples = [samples[i] for i in kept]
    if shots is not None:
        samples = training_shots(samples, shots, seed)
    require_files(samples, prompt, benchmark.path)
    if shuffle is not None:
        samples = [shuffled(sample, shuffle) for sample in samples]
    return benchmark, samples


def require_files(samples: Sequence[Sample], prompt: PromptConfig, path: Path) -> None:
    """Stop before work starts when an image or a reference is not there.

    Raises:
        InputError: every missing file is named.
    """
    missing = missing_files(samples, prompt.references, prompt.reference_kind)
    if missing:
        root = samples[0].root
        raise InputError(
            f"expected every image of {path} under {root}, found {len(missing)} missing: "
            f"{', '.join(missing)}; bring them or correct its root"
        )


def shuffled(sample: Sample, seed: int) -> Sample:
    """The sample with the options of every question reordered from a seed."""
    questions = tuple(shuffle_options(q, sample.image, seed) for q in sample.questions)
    return replace(sample, questions=questions)


def ask_otherwise(
    row: Row, questions: Sequence[Question], processor: ProcessorMixin, family: Family
) -> list[Row]:
    """Other questions about what a row shows, each asked as its own is."""
    tokenizer = processor.tokenizer
    vision_tokens = row.tokens - _text_tokens(row.messages, tokenizer)
    rows = []
    for question in questions:
        messages = _messages(
            row.sample, question, row.template, row.references, row.knowledge, family, row.images
        )
        tokens = _text_tokens(messages, tokenizer) + vision_tokens
        rows.append(replace(row, question=question, messages=messages, tokens=tokens))
    return rows


def benchmark_record(benchmark: Benchmark, shown: Sequence[Sample] | None = None) -> dict[str, Any]:
    """What provenance keeps of a benchmark, and of the samples of it that are `shown`."""
    record = {
        "benchmark": str(benchmark.path),
        "root": str(benchmark.root),
        "sha256": benchmark.sha256,
        "images": len(benchmark.samples),
        "manifest": benchmark.manifest,
    }
    if shown is not None:
        counts = count(shown)
        record["shown"] = {key: counts[key] for key in ("images", "by_category")}
    return record


def reference_paths(sample: Sample, prompt: PromptConfig) -> tuple[str, ...]:
    """The reference images shown with a sample, relative to its root.

    Raises:
        InputError: the sample has fewer templates than the prompt section asks for.
    """
    chosen = choose_references(sample, prompt.references, prompt.reference_kind)
    if len(chosen) < prompt.references:
        raise InputError(
            f"expected {prompt.references} reference image(s) for {sample.image}, "
            f"found {len(chosen)}; lower prompt.references or add templates to the benchmark"
        )
    return chosen


def _rows(
    samples: Iterable[Sample],
    prompt: PromptConfig,
    processor: ProcessorMixin,
    family: Family,
    question_types: Sequence[str] | None,
    sizes: dict[Path, Size],
    blind: bool,
) -> Iterator[Row]:
    tokenizer = processor.tokenizer
    knowledge = KnowledgeTexts(
        prompt.domain_knowledge, prompt.knowledge_tokens, partial(count_tokens, tokenizer)
    )
    for sample, asked in asked_questions(samples, question_types):
        of_sample = () if blind else reference_paths(sample, prompt)
        tokens = {
            path: image_tokens(resized_size(*sizes[path], processor), processor) - 1
            for path in (*(sample.root / name for name in of_sample), sample.path)
        }
        size = sizes[sample.path]
        for index, question in asked:
            references = of_sample[: question.references]
            paths = () if blind else (*(sample.root / name for name in references), sample.path)
            template = template_for(question, prompt.template)
            known = knowledge.text(sample.dataset, sample.category)
            messages = _messages(sample, question, template, references, known, family, paths)
            yield Row(
                sample=sample,
                index=index,
                question=question,
                template=template,
                messages=messages,
                images=tuple(str(path) for path in paths),
                references=references,
                size=size,
                frame=model_frame(*size, processor, family),
                tokens=_text_tokens(messages, tokenizer) + sum(tokens[path] for path in paths),
                knowledge=known,
            )


def _messages(
    sample: Sample,
    question: Question,
    template: Template,
    references: Sequence[str],
    knowledge: str | None,
    family: Family,
    shown: Sequence[object],
) -> list[dict[str, Any]]:
    """The conversation; in the same words without an image where none is `shown`."""
    messages = build_messages(
        sample,
        question,
        template,
        references=len(references),
        knowledge=knowledge,
        unit=family.unit or "pixels",
    )
    return messages if shown else without_images(messages)


def _text_tokens(messages: list[dict[str, Any]], tokenizer: Any) -> int:
    """Tokens of a conversation, of which each image has one."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return count_tokens(tokenizer, text)


def count_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text has by itself."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
