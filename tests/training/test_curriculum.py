"""The curriculum of the tiny policy: what it shows, what it asks of it, and that it resumes."""

from __future__ import annotations

import random

import pytest
import torch
from rich.console import Console
from torch import nn

from anomalyr1.config import PolicyConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.parsing import parse_response
from anomalyr1.policy.load import load_policy
from anomalyr1.shared_prefix.packing import IGNORED
from anomalyr1.storage import read_jsonl
from anomalyr1.training.curriculum.asking import Asking, completion_loss
from anomalyr1.training.curriculum.image_sets import patches, read_pictures
from anomalyr1.training.curriculum.lessons import (
    InTurns,
    JointLesson,
    LanguageLesson,
    SightLesson,
)
from anomalyr1.training.curriculum.look_ups import LetterHeads
from anomalyr1.training.curriculum.shared_questions import answered, asked_for, readings
from anomalyr1.training.curriculum.sight import COVERED, Facts, Heads, Names, covered_cells, turned
from anomalyr1.training.curriculum.stage import CURVE, Plan, run_stage
from anomalyr1.training.curriculum.tower import features

SIDE = 112


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "set"
    synthesize(out, train=12, test=1, seed=5, size=168, similar=True)
    return read_pictures([out / "train"])


@pytest.fixture(scope="module")
def names(pictures):
    return Names().and_of(pictures.samples)


@pytest.fixture
def policy(tiny_policy):
    loaded = load_policy(
        PolicyConfig(path=str(tiny_policy), max_pixels=336**2, freeze_vision=False), trainable=True
    )
    loaded.model.requires_grad_(True)
    return loaded


@pytest.fixture
def heads(policy, names):
    torch.manual_seed(0)
    return Heads(policy.model.config.text_config.hidden_size, names)


def test_a_similar_reference_is_the_view_without_its_defect(pictures):
    for number, sample in enumerate(pictures.samples):
        image = pictures.pixels[pictures.queries[number]].float()
        view = pictures.pixels[pictures.similar[number][0]].float()
        other = pictures.pixels[pictures.references[number][0]].float()
        rest = torch.ones(168, 168, dtype=torch.bool)
        for box in sample.boxes or ():
            x1, y1, x2, y2 = (int(value) for value in box.xyxy)
            rest[max(0, y1 - 6) : y2 + 6, max(0, x1 - 6) : x2 + 6] = False
            inside = (image - view).abs()[y1:y2, x1:x2].mean()
            assert inside > (image - view).abs()[rest].mean()
        edges = [(v.diff(dim=0)[:, 1:] + v.diff(dim=1)[1:])[rest[1:, 1:]] for v in (image, view)]
        assert torch.corrcoef(torch.stack([e.flatten() for e in edges]))[0, 1] > 0.3
        assert not torch.equal(image, view) and not torch.equal(view, other)


@pytest.mark.parametrize("side", [None, 168])
def test_patches_are_the_processors(policy, pictures, side):
    images = [open_image(s.path) for s in pictures.samples[:3]]
    wanted = policy.processor.image_processor(images=images, return_tensors="pt")
    found, grid = patches(pictures.pixels[list(pictures.queries[:3])], policy.processor, side)
    torch.testing.assert_close(found, wanted["pixel_values"], atol=1e-5, rtol=0)
    assert torch.equal(grid, wanted["image_grid_thw"])


@pytest.mark.parametrize("side", [112, 168, 280])
def test_the_tower_over_equal_windows_is_the_towers(policy, pictures, side):
    pixels, grid = patches(pictures.pixels[:3], policy.processor, side)
    output = policy.model.model.get_image_features(pixels, grid, return_dict=True)
    found = features(policy.model, pixels, grid)
    torch.testing.assert_close(found, torch.stack(list(output.pooler_output)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", range(8))
def test_corners_follow_a_turn(turn):
    image = torch.zeros(1, 20, 20, 3, dtype=torch.uint8)
    image[0, 4:9, 12:18] = 255  # rows 4 to 8, columns 12 to 17
    seen, corners = turned(image, torch.tensor([[12.0, 4.0, 18.0, 9.0]]) / 20, turn)
    rows, columns = torch.nonzero(seen[0, :, :, 0], as_tuple=True)
    wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert (corners[0] * 20).round().tolist() == [int(value) for value in wanted]


def test_covered_cells_against_a_loop():
    rng = random.Random(0)
    for _ in range(200):
        x1, y1 = rng.uniform(0, 0.8), rng.uniform(0, 0.8)
        x2, y2 = rng.uniform(x1 + 0.02, 1), rng.uniform(y1 + 0.02, 1)
        found = covered_cells(torch.tensor([[x1, y1, x2, y2]]), 16)[0]
        for cell in range(16):
            left, top = (cell % 4) / 4, (cell // 4) / 4
            width = min(x2, left + 0.25) - max(x1, left)
            height = min(y2, top + 0.25) - max(y1, top)
            common = max(0.0, width) * max(0.0, height)
            smaller = min(1 / 16, (x2 - x1) * (y2 - y1))
            assert bool(found[cell]) == (common >= COVERED * smaller), (x1, y1, x2, y2, cell)


@pytest.mark.parametrize(("tokens", "sequences"), [(100_000, 1), (400, 4)])
def test_questions_of_an_image_are_computed_as_a_plain_pass_would(
    policy, pictures, tokens, sequences
):
    """Tower and shared text once an image: loss and gradients are those of whole rows."""
    model, asking = policy.model, Asking(policy.processor, pictures.side, SIDE)
    shown = [(0, 1), (2, 3), (0, 4), (5, 1)]
    rows = asking.about_pictures(pictures.samples[:4], shown, random.Random(0))
    pixels, grid = patches(pictures.pixels[:6], policy.processor, SIDE)
    found = readings(model, rows, asking.cells, tokens)
    assert len(found) == sequences
    own = sum(int(rows.mask[row].sum()) for row in range(len(rows.ids)))
    assert sum(reading.packed.input_ids.numel() for reading in found) < 0.8 * own
    seen, total = features(model, pixels, grid), asked_for(found)
    loss = sum(answered(model, reading, seen, total) for reading in found)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    values = pixels.view(len(grid), -1, pixels.size(-1))
    numbers = [number for row in rows.images for number in row]
    hidden = model.model(
        input_ids=rows.ids,
        attention_mask=rows.mask,
        mm_token_type_ids=(rows.ids == model.config.image_token_id).long(),
        pixel_values=values[numbers].flatten(0, 1),
        image_grid_thw=grid[numbers],
    )[0]
    wanted = completion_loss(model, hidden, rows.labels)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-5)
    wanted.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-3)


def test_every_question_of_a_sample_is_asked_and_told_in_words(policy, pictures):
    asking = Asking(policy.processor, pictures.side, SIDE)
    sample = next(sample for sample in pictures.samples if sample.boxes)
    rows = asking.about_pictures([sample], [(0, 1)], random.Random(0))
    assert len(rows.ids) == len(sample.questions) and rows.images == ((0, 1),) * len(rows.ids)
    told = asking.about_words([sample] * 5, random.Random(0)).rows
    decode = policy.processor.tokenizer.decode
    box = sample.boxes[0]
    for ids, labels in zip(told.ids, told.labels, strict=True):
        text = decode(ids)
        numbers = [round(value * SIDE / pictures.side) for value in box.xyxy]
        assert f"{box.label} at {numbers}" in text and "<|image_pad|>" not in text
        assert decode(labels[labels != IGNORED]).startswith("<think>")


@pytest.mark.parametrize("template", ["choice", "inspect"])
def test_questions_are_asked_in_the_form_of_the_lesson(policy, pictures, heads, template):
    lesson = JointLesson(
        policy, pictures, heads, images=2, seed=0, sides=(SIDE,), template=template
    )
    asking = lesson.asking[SIDE]
    sample = next(sample for sample in pictures.samples if sample.boxes)
    rows = asking.about_pictures([sample], [(0, 1)], random.Random(0))
    for question, ids, labels in zip(sample.questions, rows.ids, rows.labels, strict=True):
        prompt, said = (
            policy.processor.tokenizer.decode(ids[kept])
            for kept in (labels == IGNORED, labels != IGNORED)
        )
        boxes = question.is_grounding or template == "inspect"
        assert ("bbox_2d" in said) == ("JSON list of boxes" in prompt) == boxes
        response = parse_response(said.removesuffix(asking.end), question)
        assert response.well_formed and (response.answer is None) == question.is_grounding
        assert (response.boxes is not None) == boxes


def test_a_stage_that_was_cut_off_ends_as_if_it_had_not_been(
    tiny_policy, pictures, names, tmp_path
):
    def run(folder, stop=None):
        loaded = load_policy(
            PolicyConfig(path=str(tiny_policy), max_pixels=336**2, freeze_vision=False),
            trainable=True,
        )
        loaded.model.requires_grad_(True)
        torch.manual_seed(0)
        own = Heads(loaded.model.config.text_config.hidden_size, names)
        lesson = JointLesson(loaded, pictures, own, images=2, seed=0, sides=(SIDE,))

        def batches(first):
            for step in range(first, 7):
                if step == stop:
                    raise KeyboardInterrupt
                yield lesson[step]

        modules = nn.ModuleDict({"model": loaded.model, "heads": own})
        plan = Plan(6, 1e-3, save_every=2)
        run_stage("both", folder, plan, modules, lesson, batches, dict, Console(quiet=True))
        return modules.state_dict()

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop=6)
    resumed = run(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    curves = [read_jsonl(tmp_path / name / CURVE) for name in ("whole", "cut")]
    assert [line["step"] for line in curves[1]] == [line["step"] for line in curves[0]] == [6]


def test_sight_and_language_learn(policy, pictures, heads):
    """A few steps on one batch lower each lesson's losses."""
    sight = SightLesson(policy, pictures, heads, batch=8, seed=0, everywhere=1.0)
    language = LanguageLesson(
        policy,
        pictures.samples,
        Asking(policy.processor, 168, SIDE),
        LetterHeads(policy.model.config.text_config.hidden_size),
        batch=4,
        look_ups=2,
        seed=0,
    )
    for lesson, batch in ((sight, sight[1]), (language, language[1])):
        optimizer = torch.optim.AdamW(lesson.parameters(), lr=3e-3)
        totals = []
        for _ in range(8):
            optimizer.zero_grad()
            totals.append(sum(lesson.backward(batch).values()))
            optimizer.step()
        assert totals[-1] < 0.8 * totals[0]
    facts = Facts.of(pictures.samples, pictures.side, heads.names)
    assert set(sight.figures(pictures, SIDE)) > {"kind here", "corners here", "kind", "corners"}
    assert facts.kinds.gt(0).sum() == sum(bool(sample.boxes) for sample in pictures.samples)


def test_heads_that_learn_further_names_read_what_they_read_before(policy, pictures, heads):
    more = Names((*heads.names.kinds, "open"), (*heads.names.products, "board", "tile"))
    grown = heads.knowing(more)
    tokens = torch.randn(5, 16, heads.corners.in_features)
    for name in ("kind_here", "corners_here", "kind", "ninth", "corners", "product"):
        before, after = (getattr(owner, name)(tokens) for owner in (heads, grown))
        torch.testing.assert_close(after[..., : before.size(-1)], before)
        assert not after[..., before.size(-1) :].any()
    assert Names().and_of(pictures.samples).and_of(pictures.samples) == heads.names


def test_larger_sides_show_fewer_images_and_lessons_take_turns(policy, pictures, heads):
    sight = SightLesson(
        policy, pictures, heads, batch=8, seed=0, everywhere=1.0, sides=(SIDE, 2 * SIDE)
    )
    shown = []
    heads.losses, plain = (
        lambda tokens, *rest: shown.append(tokens.shape[:2]) or plain(tokens, *rest),
        heads.losses,
    )
    for step in range(1, 7):
        sight.backward(step)
    assert set(shown) == {(8, 16), (2, 64)}
    lessons = [
        JointLesson(policy, pictures, heads, images=4, seed=0, sides=sides)
        for sides in ((SIDE,), (SIDE, 2 * SIDE))
    ]
    both = InTurns(lessons, (0.5, 0.5), seed=0)
    steps = [both[step] for step in range(1, 13)]
    assert {number for number, _ in steps} == {0, 1}
    assert {(seen.side, len(seen.samples)) for _, seen in steps} == {(SIDE, 4), (2 * SIDE, 2)}
    assert all(seen.side == SIDE for number, seen in steps if number == 0)
    assert both.backward(steps[0])["completion"] > 0
