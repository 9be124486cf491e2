"""One image in every form a program has it, many at once, and what was learnt of a product."""

from __future__ import annotations

import io
import json
from copy import copy

import numpy as np
import pytest
from commands import REPOSITORY
from PIL import Image, ImageDraw

from anomalyr1 import Inspector
from anomalyr1.config import PolicyConfig
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.policy.load import load_processor
from anomalyr1.run_folder import TRAINING_DATA


def part(seed: int, defect: bool, size: tuple[int, int] = (160, 120)) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(120, 200, (14, 14, 3), dtype=np.uint8)).resize(size)
    if defect:
        ImageDraw.Draw(image).ellipse((30, 30, 70, 70), "black")
    return image


GOOD, BAD = part(1, False), part(2, True)


@pytest.fixture(scope="module")
def found(inspector):
    return inspector.inspect(BAD, [GOOD], defect_types=["hole", "scratch"])


def test_an_inspection_says_all_it_was_asked_for(found):
    assert found.verdict == "anomalous" and found.decided_by == "answer"
    assert found.answer == "A" and found.letters["A"] == found.probability > 0.5
    assert 0 < found.probability_at_once < 1
    assert found.defect_type in ("hole", "scratch")
    assert sum(found.defect_types.values()) == pytest.approx(1)
    assert found.reasoning and found.well_formed and found.seconds > 0
    [box] = found.boxes
    assert 0 <= box.x1 < box.x2 <= 160 and 0 <= box.y1 < box.y2 <= 120 and box.label
    assert found.mask.shape == (120, 160) and found.mask.any()


def test_what_presupposes_a_defect_is_not_asked_of_a_normal_part(inspector, tmp_path):
    synthesize(tmp_path / "drawn", train=1, test=1, seed=3, size=112)
    [sample] = load_benchmark(tmp_path / "drawn" / "train").samples
    assert sample.is_normal
    references = [sample.root / key for key in sample.random_templates[:1]]
    found = inspector.inspect(sample.path, references, defect_types=["hole", "scratch"])
    assert found.verdict == "normal" and found.boxes == () and not found.mask.any()
    assert found.defect_type is None and found.defect_types is None


def test_it_is_json_a_picture_and_three_files(found, tmp_path):
    row = json.loads(found.to_json())
    assert row["verdict"] == "anomalous" and row["mask"]["size"] == [120, 160]
    card = row["settings"]
    assert card["pixels"] == [3136, 12544] and card["dtype"] == "float32"
    assert [len(r["sha256"]) for r in card["references"]] == [64]
    assert found.overlay().size == BAD.size and found.overlay() != BAD
    files = found.save(tmp_path / "out")
    assert [file.name for file in files] == ["image.json", "image.overlay.png", "image.mask.png"]
    assert json.loads(files[0].read_text()) == row
    assert (np.asarray(Image.open(files[2])) > 0).sum() == found.mask.sum()


def test_a_batch_says_what_each_says_alone(inspector):
    images = [part(seed, seed % 2 == 0, (112 + 8 * seed, 100)) for seed in range(5)]
    together = inspector.inspect_many(images, [GOOD])
    for image, one in zip(images, together, strict=True):
        alone = inspector.inspect(image, [GOOD])
        assert alone.completion == one.completion and alone.boxes == one.boxes
        assert alone.probability == pytest.approx(one.probability, abs=1e-5)
        assert alone.probability_at_once == pytest.approx(one.probability_at_once, abs=1e-5)


def test_an_image_is_the_same_in_every_form(inspector, found, tmp_path):
    BAD.save(tmp_path / "part.png")
    content = io.BytesIO()
    BAD.save(content, "PNG")
    for form in (tmp_path / "part.png", str(tmp_path / "part.png"), content.getvalue()):
        one = inspector.inspect(form, [GOOD])
        assert one.probability == pytest.approx(found.probability, abs=1e-6)
        assert (one.completion, one.boxes) == (found.completion, found.boxes)
    one = inspector.inspect(np.asarray(BAD), [np.asarray(GOOD)])
    assert one.completion == found.completion


def test_a_product_is_learnt_once(inspector, found):
    inspector.learn("lid", [GOOD], knowledge="Lids are round.")
    first = inspector.inspect(BAD, product="lid")
    assert first.settings["knowledge_sha256"] and len(first.settings["references"]) == 1
    again = inspector.inspect(BAD, product="lid", knowledge="Lids are square.")
    assert again.settings["references"] == []  # learnt anew, as given
    with pytest.raises(InputError, match="lid"):
        inspector.inspect(BAD, product="cap")


def test_the_text_is_told_as_it_is_written(inspector):
    told = []
    found = inspector.inspect(BAD, [GOOD], on_text=told.append)
    assert "".join(told) == found.completion and len(told) > 3


def test_a_threshold_decides_instead_of_the_letter(inspector):
    for threshold, verdict in ((0.0, "anomalous"), (1.0, "normal")):
        other = copy(inspector)
        other.threshold = threshold
        one = other.inspect(GOOD)
        assert (one.verdict, one.decided_by) == (verdict, "threshold")
        assert one.threshold == threshold


@pytest.mark.parametrize(
    ("saved", "trained", "given", "held"),
    [
        ((50176, 50176), True, {}, (50176, 50176)),  # configs/sft/magnetic_tile_cpu.yaml
        ((3136, 800_000), True, {}, (3136, 800_000)),  # configs/grpo/paper.yaml
        ((784, 784), True, {}, (784, 784)),
        ((50176, 50176), True, {"min_pixels": 784, "max_pixels": 6272}, (784, 6272)),
        ((784, 12_845_056), False, {}, (784, 480_000)),  # as hubs have them
        ((50176, 12_845_056), False, {}, (3136, 480_000)),
    ],
)
def test_images_have_the_size_that_the_policy_was_trained_with(
    saved, trained, given, held, tmp_path
):
    tiny = REPOSITORY / "data/tiny-policy"
    limits = dict(zip(("min_pixels", "max_pixels"), saved, strict=True))
    load_processor(PolicyConfig(path=str(tiny), **limits)).save_pretrained(tmp_path)
    weights = ("config.json", "generation_config.json", "model.safetensors")
    for name in (*weights, TRAINING_DATA) if trained else weights:
        (tmp_path / name).symlink_to(tiny / name)
    loaded = Inspector.from_pretrained(tmp_path, segmenter=None, **given)
    assert (loaded.config.min_pixels, loaded.config.max_pixels) == held
    size = loaded.policy.processor.image_processor.size
    assert (size["shortest_edge"], size["longest_edge"]) == held
