import json
import shutil

import pytest
import source_trees as trees
from commands import invoke
from typer.main import get_command

from anomalyr1.cli.data import app
from anomalyr1.cli.verbs import EVERYWHERE
from anomalyr1.errors import InputError

VERBS = ("build", "boxes", "synth", "split", "check", "stats", "export")


def run(*arguments):
    return invoke(app, *arguments)


@pytest.fixture
def bench(tmp_path, mvtec_benchmark):
    return shutil.copytree(mvtec_benchmark, tmp_path / "b")


def others(verb, *acting):
    """Every option of a verb but those that have an effect, each with a value not its default."""
    acting = (*acting, *EVERYWHERE)
    given = {}
    for option in get_command(app).commands[verb].params:
        if option.opts[0].startswith("--") and option.name not in acting:
            given[option.opts[0]] = None if option.is_flag else "7"
    assert given
    return given


def told(said, names):
    """Whether a refusal names these options, in a line, and no other."""
    assert len(said.splitlines()) == 1 and said.endswith("; leave them out")
    return said.partition("found ")[2].partition(";")[0].split(", ") == list(names)


@pytest.mark.parametrize("source", ["vlm-r1", "ms-swift", "auto"])
def test_options_that_rows_do_not_take_are_refused_by_name(tmp_path, mvtec_benchmark, source):
    form = "vlm-r1" if source == "auto" else source
    run("export", mvtec_benchmark, "--out", tmp_path / "rows", "--format", form)
    file, idle = tmp_path / "rows/rows.jsonl", others("build", "source", "root", "out", "setting")
    assert {"--gradient", "--tile", "--references", "--knowledge", "--against"} < idle.keys()
    build = ("build", source, file, "--out", tmp_path / "b", "--set", f"images={mvtec_benchmark}")
    with pytest.raises(InputError, match="with rows") as caught:
        run(*build, *(word for pair in idle.items() for word in pair if word is not None))
    assert told(str(caught.value), idle) and not (tmp_path / "b").exists()
    for name, value in idle.items():
        with pytest.raises(InputError) as caught:
            run(*build, name, *([] if value is None else [value]))
        assert told(str(caught.value), [name])
    assert run(*build, "--references", 4, "--no-gradient", "--seed", 0).exit_code == 0


def test_options_that_other_verbs_do_not_take_are_refused_by_name(bench, tmp_path):
    run("split", bench, "--out", tmp_path / "s", "--k-shot", 1)
    idle = others("split", "bench", "out", "root", "like")
    words = [word for pair in idle.items() for word in pair if word is not None]
    like = ("--like", tmp_path / "s/test/manifest.json")
    with pytest.raises(InputError, match="beside --like") as caught:
        run("split", bench, "--out", tmp_path / "t", *like, *words)
    assert told(str(caught.value), idle)
    idle = ("--references", "--template")
    with pytest.raises(InputError, match="with annotations of coco") as caught:
        run("export", bench, "--out", tmp_path / "e", "--format", "coco", "--references", 2,
            "--template", "inspect")  # fmt: skip
    assert told(str(caught.value), idle) and not (tmp_path / "e").exists()
    idle = ("--references", "--max-prompt-tokens", "--max-pixels")
    with pytest.raises(InputError, match="without --policy") as caught:
        run("stats", bench, *(word for name in idle for word in (name, 9)))
    assert told(str(caught.value), idle)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0 and f"anomalyr1 data {verb}" in " ".join(result.output.split())


def test_build_says_what_it_made(tmp_path):
    result = run(
        "build",
        "coco",
        trees.coco(tmp_path / "c"),
        "--out",
        tmp_path / "b",
        "--set",
        "category=pan",
    )
    assert "3 images, 1 normal, 2 abnormal, 3 boxes" in result.output
    assert (tmp_path / "b/mmad.json").exists()


def test_build_says_what_it_read_as_what(tmp_path):
    root = trees.own_folder(tmp_path / "p")
    (root / "good").rename(root / "Normal")
    result = run("build", "folder", root, "--out", tmp_path / "b", "--set", "category=gear")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "labels read as normal: Normal (5)" in lines
    assert "labels read as defects: dent (2), scratch (1)" in lines
    with pytest.raises(InputError, match="--set category=\\.\\.\\. once"):
        run("build", "folder", root, "--out", "x", "--set", "category=a", "--set", "category=b")


def test_roots_and_groups_of_check_stats_and_split(bench, tmp_path):
    """The benchmark's own folder is moved away; --root says where the images are."""
    (tmp_path / "j").mkdir()
    (bench / "mmad.json").rename(tmp_path / "j/mmad.json")
    alone = tmp_path / "j"
    result = run("check", alone)
    assert result.exit_code == 1 and "files of this folder are missing" in result.output
    assert run("check", alone, "--root", bench).exit_code == 0
    assert run("stats", alone, "--root", bench).exit_code == 0
    group = r"group=(\d+)\.png"
    split = ("split", alone, "--root", bench, "--out", tmp_path / "s", "--set", group)
    assert run(*split).exit_code == 0
    result = run("check", tmp_path / "s", "--set", group)
    assert result.exit_code == 0, result.output
    with pytest.raises(InputError, match="a key of --set out of group, found 'rename'"):
        run("check", alone, "--set", "rename=a:b")


def test_check_passes_and_fails(bench):
    result = run("check", bench)
    assert result.exit_code == 0 and "0 errors" in result.output
    (bench / "MVTec-AD/bottle/test/crack/000.png").unlink()
    result = run("check", bench)
    assert result.exit_code == 1 and "1 errors" in result.output
    listed = json.loads(run("check", bench, "--json").stdout)
    assert [f["image"] for f in listed] == ["MVTec-AD/bottle/test/crack/000.png"]


def test_split_and_split_like(bench, tmp_path):
    assert run("split", bench, "--out", tmp_path / "s", "--k-shot", 1).exit_code == 0
    again = run(
        "split", bench, "--out", tmp_path / "t", "--like", tmp_path / "s/test/manifest.json"
    )
    assert again.exit_code == 0 and "bit for bit" in again.output
    with pytest.raises(InputError, match="expected the benchmark that"):
        run(
            "split",
            tmp_path / "s/train",
            "--out",
            tmp_path / "u",
            "--like",
            tmp_path / "s/test/manifest.json",
        )


def test_synth_stats_and_export(tmp_path):
    run("synth", "--out", tmp_path / "s", "--train", 6, "--test", 6, "--size", 56)
    result = run("stats", tmp_path / "s/train", "--out", tmp_path / "stats.png")
    assert result.exit_code == 0 and (tmp_path / "stats.png").exists()
    assert "Gold letters" in result.output
    result = run("export", tmp_path / "s/train", "--out", tmp_path / "e", "--format", "ms-swift")
    assert result.exit_code == 0 and (tmp_path / "e/rows.jsonl").exists()


def test_stats_counts_prompt_tokens(toy_benchmark, tiny_policy):
    result = run("stats", toy_benchmark, "--policy", tiny_policy, "--max-prompt-tokens", 50)
    assert result.exit_code == 0, result.output
    assert "Prompt tokens" in result.output and "Rows over budget" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "mvtec", "nowhere", "--out", "x"),
        ("build", "unknown", ".", "--out", "x"),
        ("build", "elpv"),
        ("build", "elpv", "--out", "x", "--set", "defect_min"),
        ("split", "nowhere", "--out", "x"),
        ("check", "nowhere"),
        ("stats", "nowhere"),
        ("export", "nowhere", "--out", "x"),
        ("synth", "--out", "x", "--train", "0"),
    ],
)
def test_mistakes_are_input_errors(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected"):
        run(*arguments)


def test_build_with_domain_knowledge(tmp_path):
    knowledge = {"MVTec": {"bottle": {"good": "Fine.", "crack": "A line.", "hole": "An opening."}}}
    (tmp_path / "k.json").write_text(json.dumps(knowledge))
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    build = ("build", "mvtec", root, "--knowledge", tmp_path / "k.json", "--out")
    assert "warning" not in run(*build, tmp_path / "b").output
    records = json.loads((tmp_path / "b/mmad.json").read_text())
    types = {q["type"] for record in records.values() for q in record["conversation"]}
    assert "Defect Description" in types
    (tmp_path / "k.json").write_text(json.dumps({"MVTec": {"cable": {"good": "", "bent": "It."}}}))
    said = run(*build, tmp_path / "c").output
    assert "the domain knowledge is of MVTec/cable, not of MVTec-AD/bottle: no description" in said
