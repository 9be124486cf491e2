"""Training shows the pictures that evaluation shows: deep files, turned ones, and ordinary ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from datasets import Features, List, concatenate_datasets
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import history, toy_run

from anomalyr1.config import AugmentConfig, PromptConfig
from anomalyr1.data.image_files import quietly
from anomalyr1.data.images import LEVELS, ORIENTATION, open_image
from anomalyr1.policy.load import load_policy
from anomalyr1.rows import build_rows, open_benchmark
from anomalyr1.training.augmented_rows import AugmentedRows
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.feed import training_rows
from anomalyr1.training.grpo import train
from anomalyr1.training.heldout import heldout_rows
from anomalyr1.training.image_groups import ImageGroups, by_image
from anomalyr1.training.read_once import ReadOnce
from anomalyr1.training.row_pictures import RowPicture
from anomalyr1.training.sft import finetune

SPOT = (slice(30, 70), slice(40, 90))


def pixels(seed: int, highest: int, shape=(90, 160)) -> np.ndarray:
    """Noise around half of the highest level with a dark spot."""
    drawn = np.random.default_rng(seed).integers(int(0.4 * highest), int(0.6 * highest), shape)
    drawn[SPOT] = highest // 50
    drawn[0, 0] = highest
    return drawn


def deep(folder: Path, seed: int) -> list[Path]:
    """16-bit grey and colour, a float TIFF, and a photograph that is to be turned."""
    folder.mkdir(parents=True)
    files = [folder / name for name in ("grey.png", "colour.png", "float.tif", "turned.jpg")]
    Image.fromarray(pixels(seed, 4095).astype(np.uint16)).save(files[0])
    assert Image.open(files[0]).mode == "I;16"
    cv2.imwrite(str(files[1]), pixels(seed + 1, 4095, (90, 160, 3)).astype(np.uint16))
    Image.fromarray((pixels(seed + 2, 1000) / 1000).astype(np.float32)).save(files[2])
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(pixels(seed + 3, 255, (90, 160, 3)).astype(np.uint8))
    photo.save(files[3], exif=exif)
    return files


def ordinary(folder: Path) -> list[Path]:
    """Eight bits or fewer in every mode that a camera, a scanner or a browser saves."""
    folder.mkdir(parents=True)
    photo = Image.fromarray(pixels(0, 255, (90, 160, 3)).astype(np.uint8))
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray(pixels(1, 255).astype(np.uint8)))
    made = {
        "rgb.png": photo,
        "rgb.jpg": photo,
        "grey.png": photo.convert("L"),
        "palette.png": photo.quantize(16),
        "clear.png": clear,
        "clear_grey.png": clear.convert("LA"),
        "cmyk.jpg": photo.convert("CMYK"),
        "two.png": photo.convert("1"),
        "grey.tif": photo.convert("L"),
    }
    for name, image in made.items():
        options = {"transparency": 0} if name == "palette.png" else {}
        image.save(folder / name, **options)
    return [folder / name for name in made]


def benchmark(root: Path, toy: Path, files: list[Path]) -> Path:
    """The toy benchmark's questions about these files, each beside the next one as reference."""
    record = next(iter(json.loads((toy / "mmad.json").read_text()).values()))
    keys = [file.relative_to(root).as_posix() for file in files]
    records = {
        key: {**record, "similar_templates": [after]}
        for key, after in zip(keys, [*keys[1:], keys[0]], strict=True)
    }
    (root / "mmad.json").write_text(json.dumps(records))
    return root


@pytest.fixture(scope="module")
def deep_benchmark(tmp_path_factory, toy_benchmark) -> Path:
    root = tmp_path_factory.mktemp("deep")
    return benchmark(root, toy_benchmark, deep(root / "Toy/tile/test/good", 0))


@pytest.fixture(scope="module")
def deep_heldout(tmp_path_factory, toy_benchmark) -> Path:
    root = tmp_path_factory.mktemp("deep_heldout")
    return benchmark(root, toy_benchmark, deep(root / "Toy/tile/test/good", 10))


@pytest.fixture(scope="module")
def policy(tiny_policy, toy_benchmark):
    return load_policy(toy_run(Path(), tiny_policy, toy_benchmark).policy)


def rows_of(policy, folder: Path):
    prompt = PromptConfig(references=1)
    _, samples = open_benchmark(str(folder), "data.benchmark", prompt)
    return build_rows(samples, prompt, policy.processor, policy.family)


def shown(policy, rows, options=None):
    """Row number -> its pictures, as each way of training comes by them."""
    plain, gold = to_dataset(rows), to_dataset(rows, with_completion=True)
    numbers, groups = range(len(rows)), by_image(rows)
    looks = options or AugmentConfig()
    anew = AugmentedRows(rows, plain, looks, 0, policy.processor, policy.family)
    once, grouped = ReadOnce(plain), ImageGroups(gold, groups)
    return {
        "GRPO": once.__getitems__(list(numbers)),
        "SFT": [gold[number] for number in numbers],
        "SFT, a batch": gold.__getitems__(list(numbers)),
        "SFT by image": [row for image in range(len(groups)) for row in grouped[image]],
        "augmented": [anew[number] for number in numbers],
        "columns alone": list(gold.select_columns(["images"])),
        "selected, joined, written": list(
            concatenate_datasets([gold.select(numbers)]).map(lambda row: row).flatten_indices()
        ),
    }


def assert_equal(records, rows):
    for record, row in zip(records, rows, strict=True):
        for image, path in zip(record["images"], row.images, strict=True):
            assert image.mode == "RGB"
            assert np.array_equal(image, open_image(Path(path))), path


def test_every_way_of_training_shows_what_evaluation_shows(policy, deep_benchmark):
    rows = rows_of(policy, deep_benchmark)
    opened = [open_image(Path(row.images[-1])) for row in rows[::3]]
    assert [image.info.get(LEVELS) for image in opened] == [
        "12 bits to 8",
        "12 bits to 8",
        "0 .. 1 to 0 .. 255",
        None,
    ]
    assert [image.info[ORIENTATION] for image in opened] == [1, 1, 1, 6]
    for name, records in shown(policy, rows).items():
        assert len(records) == 12, name
        assert_equal(records, rows)


def test_held_out_rows_show_it_too(policy, deep_benchmark, deep_heldout, tmp_path, tiny_policy):
    config = toy_run(tmp_path, tiny_policy, deep_benchmark)
    config = replace(config, data=replace(config.data, heldout=str(deep_heldout)))
    used, _ = training_rows(config, policy.processor, policy.family)
    heldout = heldout_rows(config, policy.processor, policy.family, used)
    assert len(heldout) == 12
    for gold in (False, True):
        assert_equal(to_dataset(heldout, with_completion=gold), heldout)


def test_ordinary_files_look_as_pillow_has_them(policy, tmp_path, toy_benchmark):
    files = ordinary(tmp_path / "Toy/tile/test/good")
    rows = rows_of(policy, benchmark(tmp_path, toy_benchmark, files))
    with quietly():
        stock = {str(file): np.asarray(Image.open(file).convert("RGB")) for file in files}
    for records in shown(policy, rows).values():
        for record, row in zip(records, rows, strict=True):
            for image, path in zip(record["images"], row.images, strict=True):
                assert np.array_equal(image, stock[path]), path


def test_the_kind_of_a_picture_outlives_what_knows_its_columns_alone(policy, deep_benchmark):
    """Tables name the kinds of their columns in words, from which libraries make them anew."""
    data = to_dataset(rows_of(policy, deep_benchmark))
    kinds = [data.features, Features.from_arrow_schema(data.data.schema)]
    kinds += [Features.from_dict(data.features.to_dict()), data.select_columns("images").features]
    for features in kinds:
        assert type(features["images"].feature) is RowPicture
        assert features["images"] == List(RowPicture())


VERBS = {
    "sft": (finetune, {}),
    "sft by image": (finetune, {"group_by_image": True}),
    "train": (train, {}),
}


@pytest.mark.parametrize("name", VERBS)
def test_a_run_is_that_on_the_pictures_that_evaluation_shows(
    name, deep_benchmark, deep_heldout, tiny_policy, tmp_path
):
    verb, options = VERBS[name]
    folders = {"deep": (deep_benchmark, deep_heldout), "as seen": []}
    for folder in folders["deep"]:
        copy = Path(shutil.copytree(folder, tmp_path / folder.name))
        for file in copy.glob("Toy/**/*.*"):
            open_image(file).save(file, format="PNG")
        folders["as seen"].append(copy)
    logs, weights = [], []
    for side, (training, heldout) in folders.items():
        config = toy_run(tmp_path / side, tiny_policy, training)
        data = replace(config.data, limit=None, heldout=str(heldout), heldout_limit=4, **options)
        short = {"max_steps": 1, "save_steps": 1}
        config = replace(
            config,
            data=data,
            prompt=PromptConfig(references=1),
            sft={**config.sft, **short},
            grpo={**config.grpo, **short, "per_device_train_batch_size": 12},
        )
        verb(config)
        entries = history(tmp_path / side, "step")
        kept = ("loss", "grad_norm", "eval_loss", "eval_reward")
        logs.append([{key: e[key] for key in kept if key in e} for e in entries])
        weights.append(load_file(tmp_path / side / "policy/model.safetensors"))
    assert logs[0] == logs[1] and any("eval_loss" in entry for entry in logs[0])
    assert all((value == weights[1][key]).all() for key, value in weights[0].items())
