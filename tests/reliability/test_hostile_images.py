"""Any file under an image's name: Pillow's own upright pixels, or refused by name in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run_here
from hostile_images import chunk, damaged, exif, kinds, saved, special_files
from PIL import Image, ImageOps
from tiny_runs import write_config

from anomalyr1.data.grey_levels import to_eight_bits
from anomalyr1.data.image_files import quietly
from anomalyr1.data.image_sources import read_image
from anomalyr1.data.images import image_size, open_image
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.demo.upload_limits import Limits, open_upload
from anomalyr1.errors import InputError
from anomalyr1.geometry import too_extreme

SEED, FEW, MANY = 0, 60, 3_000
# What nobody can read as an image, or Pillow would but should not.
REFUSED = {
    "ycc.tif", "not_a_number.tif", "nothing.png", "zeros.png", "noise.jpg", "signature.png",
    "start.jpg", "no_width.png", "bomb.png", "bomb_in_sight.png", "bomb.gif.png", "bomb.bmp",
    "text_bomb.png", "vector.svg.png", "vector.png", "page.html.png", "document.png",
    "archive.png", "program.png", "postscript.png", "metafile.png", "weather.png", "pickle.png",
    "pointer.jpg", "wrong_sum.png",
}  # fmt: skip
EXTREME = {"row.png", "column.png"}  # images, but of a shape that no policy takes


def write_all(folder: Path, count: int) -> dict[str, bytes]:
    """Every kind, or of few the fourth part, and so many damaged ones."""
    chosen = sorted(kinds())[:: 4 if count < 10 else 1]
    files = {**{name: kinds()[name] for name in chosen}, **dict(damaged(SEED, count))}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def by_pillow(path: Path) -> np.ndarray | None:
    """The pixels as Pillow alone gives them; None where it cannot."""
    try:
        with quietly(), Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
                levels = np.asarray(image)
                if not np.isfinite(levels).all():
                    return None
                image = Image.fromarray(to_eight_bits(levels)[0])
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


def read_or_refused(path: Path) -> bool:
    """Whether an image is read, by all who read one; if so, it is the one that Pillow reads."""
    expected = by_pillow(path)
    try:
        image = open_image(path)
    except InputError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 400
        assert expected is None
        for read in (lambda: read_image(path.read_bytes()), lambda: open_upload(path, Limits())):
            with pytest.raises(InputError) as refused:
                read()
            assert "\n" not in str(refused.value) and str(path.parent) not in str(refused.value)
        return False
    assert expected is not None and image.mode == "RGB"
    pixels = np.asarray(image)
    if not (path.name.startswith("deep_colour") or "_deep_colour" in path.name):
        assert np.array_equal(pixels, expected)  # of colours, Pillow cuts 16 bits to 8 itself
    assert image_size(path) == image.size == (expected.shape[1], expected.shape[0])
    assert np.array_equal(np.asarray(read_image(path.read_bytes())), pixels)
    assert np.array_equal(np.asarray(open_upload(path, Limits())), pixels)
    return True


def look_at(folder: Path, count: int) -> tuple[int, int]:
    """How many are read and how many are refused."""
    files = write_all(folder, count)
    read = {name for name in files if read_or_refused(folder / name)}
    assert set(kinds()) - read == REFUSED
    return len(read), len(files) - len(read)


@pytest.mark.filterwarnings("error")
def test_each_is_the_upright_image_or_refused(tmp_path):
    read, refused = look_at(tmp_path / "images", FEW)
    assert read > 80 and refused > 40


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_thousands_of_damaged_images(tmp_path, capsys):
    read, refused = look_at(tmp_path / "images", MANY)
    with capsys.disabled():
        print(f"\n{read + refused} images: {read} as Pillow reads them, {refused} refused by name")


def test_what_is_no_file_is_refused_at_once(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in special_files(folder):
        if path.name == "out.png":  # to an image: who names it means it
            assert open_image(path).size == (50, 40)
            continue
        for read in (open_image, image_size):
            with pytest.raises(InputError, match=str(path)) as refused:
                read(path)
            assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Image.Image:
    """A part with a defect that the shipped policy finds; not square."""
    bench = tmp_path_factory.mktemp("drawn") / "bench"
    synthesize(bench, train=1, test=4)
    sample = next(s for s in load_benchmark(bench / "test").samples if not s.is_normal)
    return open_image(sample.path).resize((140, 112))


def test_boxes_are_in_the_frame_of_the_upright_image(inspector, drawn):
    """However a file says that it is turned, its inspection is that of the image made upright."""
    stored = drawn.transpose(Image.Transpose.ROTATE_90)
    png, block = saved(stored), exif(6).tobytes().removeprefix(b"Exif\0\0")
    files = [
        saved(stored, exif=exif(6)),
        png[:-12] + chunk(b"eXIf", block) + png[-12:],
        saved(stored, "TIFF", exif=exif(6)),
        saved(stored, "WEBP", lossless=True, exif=exif(6)),
    ]
    upright, *others = inspector.inspect_many([drawn, *files])
    assert upright.boxes and upright.mask is not None
    for other in others:
        assert other.image.size == drawn.size == other.mask.shape[::-1] == (140, 112)
        assert other.boxes == upright.boxes and other.completion == upright.completion
        assert np.array_equal(other.mask, upright.mask)


def inspect_all(folder: Path, policy: Path, out: Path, count: int) -> tuple[int, int]:
    """`predict` of a folder of them all: how many were inspected, how many told of."""
    files = write_all(folder, count)
    special_files(folder)
    short = "--segmenter", "box", "--max-new-tokens", 2
    said = run_here("predict", folder, "--policy", policy, "--out", out, *short, status=2)
    rows = [json.loads(line) for line in (out / "inspections.jsonl").read_bytes().splitlines()]
    by_name = {Path(row["image"]).name: row for row in rows}
    assert set(by_name) == set(files) and len(rows) == len(files)
    told = {name for name, row in by_name.items() if "error" in row}
    assert told & set(kinds()) == (REFUSED | EXTREME) & set(files)
    for name, row in by_name.items():
        if name in told:
            assert row["error"] in said and name in row["error"] and "\n" not in row["error"]
            continue
        width, height = open_image(folder / name).size
        with Image.open(out / row["overlay"]) as overlay:
            assert overlay.size == (width, height)
        for box in row["boxes"] or ():
            x1, y1, x2, y2 = box["box"]
            assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
    assert f"{len(rows)} images: " in said and f"{len(told)} not inspected" in said
    # The same command again has nothing to do.
    before = (out / "inspections.jsonl").read_bytes()
    run_here("predict", folder, "--policy", policy, "--out", out, *short, status=2)
    assert (out / "inspections.jsonl").read_bytes() == before
    return len(rows) - len(told), len(told)


def test_predict_tells_of_each_and_goes_on(tmp_path, tiny_policy):
    inspect_all(tmp_path / "images", tiny_policy, tmp_path / "out", 4)


@pytest.mark.slow
def test_predict_tells_of_each_of_hundreds_and_goes_on(tmp_path, tiny_policy, capsys):
    inspected, told = inspect_all(tmp_path / "images", tiny_policy, tmp_path / "out", 200)
    with capsys.disabled():
        print(f"\npredict: {inspected} inspected, {told} refused by name, none left out")


def build(root: Path, out: Path) -> tuple[set[str], str]:
    """`data build folder`: the files that it refused, and what it said."""
    try:
        return set(), run_here("data", "build", "folder", root, "--out", out)
    except AssertionError as error:
        said = str(error.args[0])
    assert " cannot be used" in said and not out.exists()
    listing = said.partition("all of them: ")[2].split()
    lines = Path(listing[0]).read_text().splitlines() if listing else said.splitlines()
    return {name for name in (_named(line, root) for line in lines) if name}, said


def _named(line: str, root: Path) -> str | None:
    """The file that a line of faults is about."""
    _, found, after = line.partition(f"{root}/part/test/dent/")
    return after.partition(",")[0] if found else None


def build_and_answer(folder: Path, policy: Path, count: int) -> tuple[int, int]:
    """`data build` of a tree of them all, and `eval` of what it took; how many, and the refused."""
    root, bench, run_dir = folder / "tree", folder / "bench", folder / "run"
    dents = root / "part/test/dent"
    files = write_all(dents, count)
    special_files(dents)
    (root / "part/test/outside.png").rename(folder / "outside.png")
    (dents / "out.png").unlink()
    (dents / "out.png").symlink_to(folder / "outside.png")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        (root / "part/train/good").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(root / f"part/train/good/{number}.png")
    refused, _ = build(root, bench)
    assert refused & set(kinds()) == REFUSED & set(files)
    for name in refused:
        (dents / name).unlink()
    left, said = build(root, bench)
    assert left == set() and "not read" in said  # the folder, pipes and devices
    benchmark = load_benchmark(bench)
    built = {sample.path.name: sample.path for sample in benchmark.samples}
    assert set(built) == set(files) - refused | {"out.png"}
    assert not any(path.is_symlink() for path in bench.rglob("*"))  # it stands alone
    config = write_config(
        folder / "eval.yaml",
        run_dir=run_dir,
        policy={"path": policy, "max_pixels": 12544},
        prompt={"references": 0},
        eval={"benchmark": bench, "max_new_tokens": 1, "allow_seen": True},
        segmentation={"kind": "none"},
    )
    extreme = {name for name, path in built.items() if too_extreme(*image_size(path))}
    assert extreme & set(kinds()) == EXTREME & set(built)
    if extreme:
        said = run_here("eval", config, status=2)
        assert all(name in said for name in extreme) and said.count("error: ") == 1
    records = json.loads((bench / "mmad.json").read_text())
    records = {key: record for key, record in records.items() if Path(key).name not in extreme}
    (bench / "mmad.json").write_text(json.dumps(records))
    last = built[sorted(set(built) - extreme)[-1]]
    whole = last.read_bytes()
    last.unlink()  # a hard link of the tree
    last.write_bytes(whole[: len(whole) // 2])
    said = run_here("eval", config, status=2)
    assert last.name in said and said.count("error: ") == 1
    assert not (run_dir / "predictions.jsonl").exists()
    last.write_bytes(whole)
    run_here("eval", config)
    lines = (run_dir / "predictions.jsonl").read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["image"] for row in rows} == set(records)
    for row in rows:
        assert tuple(row["size"]) == open_image(bench / row["image"]).size
    return len(records), len(refused) + len(extreme)


def test_build_and_eval_take_or_name_each(tmp_path, tiny_policy):
    build_and_answer(tmp_path, tiny_policy, 4)


@pytest.mark.slow
def test_build_and_eval_take_or_name_each_of_hundreds(tmp_path, tiny_policy, capsys):
    taken, refused = build_and_answer(tmp_path, tiny_policy, 200)
    with capsys.disabled():
        print(f"\ndata build and eval: {taken} taken and answered, {refused} refused by name")
