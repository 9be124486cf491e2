"""Damaged trees of every form build, warn or are refused by name; none ends in a Python error."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest
from drawn_forms import TREES, build_form
from PIL import Image

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.sources.recognise import choose_source
from anomalyr1.errors import InputError

PYTHONS = re.compile(
    r"\b(Type|Key|Value|Index|Attribute|Recursion|Unicode\w*|Assertion|Memory|Overflow|Zero\w*|OS|"
    r"FileNotFound|IsADirectory|NotADirectory|Permission|Runtime|Input|Stop\w*)Error\b|Traceback|"
    r"object at 0x"
)
TEXT = frozenset({".json", ".jsonl", ".xml", ".txt", ".csv", ".yaml", ".manifest"})
VALUES = ("null", "-1", "1e999", "NaN", '"x"', "[]", "{}", "99999999999", "0", "true", '""', "../x")


def truncate(file: Path, rng: random.Random, files: list[Path]) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content) + 1)])


def empty(file: Path, rng: random.Random, files: list[Path]) -> None:
    file.write_bytes(b"")


def rename(file: Path, rng: random.Random, files: list[Path]) -> None:
    new = rng.choice(["x" + file.name, file.stem, f"{file.stem}.png", f"{file.stem}.json",
                      file.name.upper(), f"{file.name}.bak", f".{file.name}"])  # fmt: skip
    if not file.with_name(new).exists():
        file.rename(file.with_name(new))


def swap(file: Path, rng: random.Random, files: list[Path]) -> None:
    other = rng.choice(files)
    first, second = file.read_bytes(), other.read_bytes()
    file.write_bytes(second)
    other.write_bytes(first)


def recode(file: Path, rng: random.Random, files: list[Path]) -> None:
    """Text in another encoding; an image of another size, mode or format under its old name."""
    content = file.read_bytes()
    if file.suffix in TEXT:
        text = content.decode("utf-8", "replace").replace("dent", "Délle")
        coding = rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "cp1252", "utf-32", "cp037"])
        file.write_bytes(text.encode(coding, "replace"))
        return
    try:
        image = Image.open(file)
        image.load()
    except Exception:
        return
    image = image.resize(rng.choice([image.size, image.size[::-1], (1, 1), (7, 300)]))
    image = image.convert(rng.choice(["L", "RGB", "RGBA", "1", "P", "CMYK", "I", "F"]))
    form = rng.choice(["PNG", "TIFF", "BMP", "GIF"])
    try:
        image.save(file, format=form)
    except (OSError, ValueError):
        image.convert("RGB").save(file, format="PNG")


def flip(file: Path, rng: random.Random, files: list[Path]) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(rng.randrange(1, 9)):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(bytes(content))


def replace_value(file: Path, rng: random.Random, files: list[Path]) -> None:
    """One number, word or list of a text file becomes something else."""
    if file.suffix not in TEXT:
        return flip(file, rng, files)
    text = file.read_bytes().decode("utf-8", "replace")
    found = list(re.finditer(r"-?\d+(?:\.\d+)?|\"[^\"]*\"|\[[^\[\]]*\]|<[^<>]+>|\w+", text))
    if not found:
        return None
    match = rng.choice(found)
    new = rng.choice([*VALUES, rng.choice(found)[0]])
    file.write_text(text[: match.start()] + new + text[match.end() :], encoding="utf-8")
    return None


def remove(file: Path, rng: random.Random, files: list[Path]) -> None:
    file.unlink()


def folder_instead(file: Path, rng: random.Random, files: list[Path]) -> None:
    file.unlink()
    file.mkdir()


DAMAGE = (truncate, empty, rename, swap, recode, flip, replace_value, remove, folder_instead)


def attempt(form: str, tree: Path, out: Path, rng: random.Random) -> str:
    """What comes of a damaged tree: built, or refused by name."""
    name = form.split(" ")[0]
    try:
        if rng.random() < 0.25:
            name, _ = choose_source(tree)
        build_form(name, tree, out)
        if rng.random() < 0.25:
            check_benchmark(out, near_bits=-1)
    except InputError as refusal:
        assert not PYTHONS.search(str(refusal)), refusal
        return "refused"
    return "built"


def damaged(seeds: range, templates: Path, work: Path) -> dict[str, int]:
    """Damage one file of one tree for every seed; counts of what came of it."""
    results = {"built": 0, "refused": 0}
    forms = list(TREES)
    for seed in seeds:
        rng = random.Random(seed)
        form = forms[seed % len(forms)]
        template = templates / form.replace(" ", "-")
        if not template.exists():
            TREES[form](template)
        tree, out = work / "tree", work / "out"
        shutil.copytree(template, tree)
        moved = str(template), str(tree)
        for file in tree.glob("*.jsonl"):  # ms-swift names its images absolutely
            file.write_text(file.read_text().replace(*moved))
        files = sorted(f for f in tree.rglob("*") if f.is_file())
        # Annotations are few beside the images, and most can go wrong in them.
        texts = [f for f in files if f.suffix in TEXT]
        file = rng.choice(texts if texts and rng.random() < 0.6 else files)
        damage = rng.choice(DAMAGE)
        damage(file, rng, files)
        try:
            result = attempt(form, tree, out, rng)
        except Exception as error:
            name = f"{damage.__name__} of {file.relative_to(tree)}"
            raise AssertionError(f"seed {seed}: {form}, {name}: {error!r}") from error
        if result == "refused":
            assert not out.exists(), f"seed {seed}: {form} left a folder"
        results[result] += 1
        shutil.rmtree(tree)
        shutil.rmtree(out, ignore_errors=True)
    return results


def test_random_damage(tmp_path):
    results = damaged(range(140), tmp_path / "templates", tmp_path / "work")
    assert min(results.values()) > 20, results  # the damage neither kills all nor nothing


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    results = damaged(range(1000, 11_000), tmp_path / "templates", tmp_path / "work")
    assert sum(results.values()) == 10_000 and min(results.values()) > 1000, results


def test_the_forms_are_whole_before_they_are_damaged(tmp_path):
    for form, make in TREES.items():
        tree = make(tmp_path / form.replace(" ", "-"))
        rng = random.Random(1)  # its first number is below 0.25: through `auto`
        assert attempt(form, tree, tmp_path / f"out-{form}", rng) == "built", form
