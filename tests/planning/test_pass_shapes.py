"""Trees and chunks of completions as `plan` counts them, against trees that are laid out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_passes import PROMPT, settings, skeleton_of

from anomalyr1.config import Config, DataConfig, PolicyConfig
from anomalyr1.planning.architecture import read_architecture
from anomalyr1.planning.parts import Parts
from anomalyr1.planning.pass_shapes import PassShape, prefill_shapes, scoring_shape, training_shape
from anomalyr1.planning.passes import worst_moment
from anomalyr1.planning.settings import chunk_of_completions
from anomalyr1.planning.tokens import prompt_tokens, sharing_ratio
from anomalyr1.shared_prefix.packing import Stretch, WholeRow, lay_out

# 100 tokens, of which 90 are the image's and shared by three questions.
ASKED = replace(PROMPT, of_image=90, questions=3.0)


def laid_out(parts: Parts, trees: int, chunk_tokens: int | None = None):
    """The layout of such trees as training packs them."""
    length = parts.seen + parts.size
    roots, number = [], 0
    for _ in range(trees):
        questions = []
        for _ in range(parts.questions):
            ends = tuple(Stretch(number + k, parts.seen, length) for k in range(parts.count))
            questions.append(Stretch(number, parts.image, parts.seen, ends))
            number += parts.count
        root = Stretch(questions[0].row, 0, parts.image, tuple(questions))
        roots += [root] if parts.image else questions
    ids = torch.zeros(length, dtype=torch.long)
    row = WholeRow(ids, ids, ids.expand(3, -1), ids, ids)
    return lay_out(roots, dict.fromkeys(range(number), row), chunk_tokens)


def places(layout):
    return [(part.start, part.end, part.seen, tuple(part.index.shape)) for part in layout]


@pytest.mark.parametrize("trees", [1, 2])
@pytest.mark.parametrize("parts", [Parts(4, 3, 2), Parts(4, 3, 2, image=5, questions=2)])
def test_a_tree_is_laid_out_as_it_is_packed(parts, trees):
    packed = laid_out(parts, trees)
    assert places(parts.layout(trees)) == places(packed.layout)
    assert packed.input_ids.size(1) == trees * parts.tokens
    masks = [part.mask.numel() for part in packed.layout if part.mask is not None]
    assert sum(masks) == trees * parts.pairs
    apart = laid_out(parts, trees, chunk_tokens=2 * parts.size)
    assert places(replace(parts, count=0).layout(trees)) == places(apart.layout)
    assert places(parts.ends(2, trees)) == places(apart.chunks[0])


def test_shapes_by_hand():
    # Six prompts, two images: twice 90 + 3 x (9 + 8 x 51) tokens.
    shape = training_shape(settings(rows=48), ASKED, shared=True)
    assert (shape.sequences, shape.length, shape.images) == (2, 90 + 3 * 417, 4)
    assert shape.parts == Parts(9, 8, 51, image=90, questions=3)
    # Four prompts, cut anywhere, begin with two images.
    assert training_shape(settings(rows=32), ASKED, shared=True).sequences == 2
    assert training_shape(settings(rows=8), ASKED, shared=True).parts == Parts(99, 8, 51)
    stock = training_shape(settings(rows=48), ASKED, shared=False)
    assert stock == training_shape(settings(rows=48), PROMPT, shared=False)
    # Four of 51 tokens fit 250; all 48 would need 2448.
    for make in (training_shape, scoring_shape):
        assert make(settings(rows=48), ASKED, shared=True, chunk_tokens=250).ends == 4
        assert make(settings(rows=48), ASKED, shared=True, chunk_tokens=2448).ends == 0
    # 2 x 90 + 12 x 10 tokens instead of 6 x 100; for 48 rows the prompts are fewer.
    few = prefill_shapes(settings(rows=12, generations=2), ASKED, shared=True)
    assert [(shape.tokens, shape.images) for shape in few] == [(180, 4), (120, 0)]
    many = prefill_shapes(settings(rows=48), ASKED, shared=True)
    assert [(shape.tokens, shape.images) for shape in many] == [(600, 4)]


def test_the_limit_ratio_of_a_tree():
    assert sharing_ratio(100, 50, 8, 90, 3) == pytest.approx(3 * 8 * 150 / (90 + 3 * (10 + 400)))
    assert sharing_ratio(100, 50, 8, 0, 3) == pytest.approx(sharing_ratio(100, 50, 8))


def test_less_at_once_takes_less(tiny_policy):
    policy = PolicyConfig(path=str(tiny_policy))
    skeleton = skeleton_of(policy)

    def peak(prompt, chunk=None, checkpointing=False) -> int:
        shape = training_shape(settings(rows=24), prompt, shared=True, chunk_tokens=chunk)
        moment = worst_moment(skeleton, shape, checkpointing=checkpointing, backward=True)
        return moment.total - skeleton.head.tape(1, shape.tokens, shape.scored).backward

    assert peak(ASKED) < peak(PROMPT)
    assert peak(ASKED, 204) < peak(ASKED, 612) < peak(ASKED)
    parts = Parts(99, 8, 51)
    one = PassShape(1, parts.tokens, 400, 0, 0, copied=True, parts=parts, ends=2)
    whole = replace(one, ends=0)
    for checkpointing in (False, True):
        moments = [
            worst_moment(skeleton, shape, checkpointing=checkpointing, backward=True)
            for shape in (one, whole)
        ]
        assert moments[0].activations < moments[1].activations


def test_where_chunks_are_kept_to():
    policy = PolicyConfig(chunk_completions=300)
    assert chunk_of_completions(Config(policy=policy), splits_weights=False) == 300
    assert chunk_of_completions(Config(policy=policy), splits_weights=True) is None
    flash = replace(policy, attention="flash_attention_2")
    assert chunk_of_completions(Config(policy=flash), splits_weights=False) is None


def test_questions_of_an_image_are_measured(tiny_policy, toy_benchmark):
    policy = PolicyConfig(path=str(tiny_policy), max_pixels=12544)
    given = Config(policy=policy, data=DataConfig(benchmark=str(toy_benchmark)))
    architecture = read_architecture(policy)
    single = prompt_tokens(given, architecture)
    data = replace(given.data, group_by_image=True)
    found = prompt_tokens(replace(given, data=data), architecture)
    assert (single.of_image, single.questions) == (0, 1.0)
    assert found.questions == 3.0
    images = found.patches // 4  # a token for four patches
    assert images < found.of_image < found.longest - 2
    assert replace(found, of_image=0, questions=1.0) == single
