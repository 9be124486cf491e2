import pickle
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from anomalyr1.config import (
    Config,
    EvalConfig,
    LoraSection,
    PolicyConfig,
    RewardConfig,
    SegmentationConfig,
    dump_config,
    load_config,
)
from anomalyr1.config.reward import IouOptions
from anomalyr1.errors import InputError


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_base_is_inherited_and_overrides_come_last(tmp_path):
    write(tmp_path, "seed: 1\npolicy: {path: a, min_pixels: 50, max_pixels: 100}\n", "base.yaml")
    path = write(tmp_path, "base: base.yaml\npolicy: {path: b}\n")
    config = load_config(path, ["policy.max_pixels=200", "grpo.learning_rate=1e-6"])
    assert (config.seed, config.policy.path, config.policy.max_pixels) == (1, "b", 200)
    assert config.grpo["learning_rate"] == 1e-6


def test_every_error_at_once_with_the_nearest_key(tmp_path):
    path = write(
        tmp_path,
        "polcy: {}\neval: {batch_size: many}\nprompt: {template: essay}\ngrpo: {betta: 1}\n",
    )
    with pytest.raises(InputError) as caught:
        load_config(path, verbatim={"grpo": frozenset({"beta", "epsilon"})})
    message = str(caught.value)
    assert "unknown key polcy (nearest: policy)" in message
    assert "eval.batch_size: expected int, found 'many'" in message
    assert "prompt.template: expected one of choice, inspect" in message
    assert "unknown key grpo.betta (nearest: beta)" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [1", "expected a readable config"),  # broken YAML
        ("- a\n", "expected a mapping"),  # a list
        ("base: c.yaml\n", "inheriting itself"),
        ("base: gone.yaml\n", "expected a config file"),
        ("policy: 3\n", "expected a section"),
        ("seed: true\n", "seed: expected int, found True"),  # a bool is no number
        ("x: !!python/object/apply:os.system ['true']\n", "expected a readable config"),
    ],
)
def test_unusable_files(tmp_path, text, found):
    with pytest.raises(InputError, match=found):
        load_config(write(tmp_path, text))


def test_bad_override(tmp_path):
    with pytest.raises(InputError, match=r"section\.key=value"):
        load_config(write(tmp_path, "seed: 1\n"), ["seed"])


def test_optional_section(tmp_path):
    config = load_config(write(tmp_path, "policy: {lora: {r: 8}}\n"))
    assert config.policy.lora is not None and config.policy.lora.r == 8
    assert load_config(write(tmp_path, "seed: 0\n")).policy.lora is None


def test_dump_reads_back_equal(tmp_path):
    config = load_config(write(tmp_path, "policy: {lora: {r: 8}}\nreward: {preset: paper}\n"))
    again = load_config(write(tmp_path, dump_config(config), "again.yaml"))
    assert again == config and again != Config()


# What no run can use: a count of nothing, a share above 1, a limit below the other.
CONTRADICTIONS = [
    ("policy: {max_pixels: 100}", "policy: expected max_pixels of at least min_pixels 3136, found"),
    ("policy: {max_pixels: 0}", "policy.max_pixels: expected at least 1, found 0"),
    ("policy: {min_pixels: -1}", "policy.min_pixels: expected at least 1, found -1"),
    ("policy: {path: ''}", "policy.path: expected a text that is not empty, found ''"),
    ("policy: {lora: {r: 0}}", "policy.lora.r: expected at least 1, found 0"),
    ("policy: {lora: {alpha: 0}}", "policy.lora.alpha: expected at least 1, found 0"),
    ("policy: {lora: {dropout: 1.0}}", "policy.lora.dropout: expected below 1, found 1.0"),
    ("policy: {lora: {target_modules: 3}}", "target_modules: expected str or list, found 3"),
    ("policy: {lora: {target_modules: '('}}", "target_modules: expected a regular expression"),
    ("policy: {lora: {target_modules: []}}", "target_modules: expected str or a list that is"),
    ("eval: {question_types: []}", "eval.question_types: expected a list that is not empty, f"),
    ("policy: {lora: {target_modules: [q, 3]}}", "target_modules[1]: expected str, found 3"),
    ("policy: {learning_rates: {vision: -1}}", "learning_rates.vision: expected at least 0"),
    ("prompt: {references: -1}", "prompt.references: expected at least 0, found -1"),
    ("prompt: {max_prompt_tokens: 0}", "prompt.max_prompt_tokens: expected at least 1, found 0"),
    ("prompt: {knowledge_tokens: 0}", "prompt.knowledge_tokens: expected at least 1, found 0"),
    ("data: {limit: 0}", "data.limit: expected at least 1, found 0"),
    ("data: {heldout_limit: 0}", "data.heldout_limit: expected at least 1, found 0"),
    ("data: {benchmark: ''}", "data.benchmark: expected a text that is not empty, found ''"),
    ("data: {question_types: [1]}", "data.question_types[0]: expected str, found 1"),
    ("eval: {batch_size: 0}", "eval.batch_size: expected at least 1, found 0"),
    ("eval: {max_new_tokens: -5}", "eval.max_new_tokens: expected at least 1, found -5"),
    ("eval: {limit: -1}", "eval.limit: expected at least 1, found -1"),
    ("eval: {bootstrap: 0}", "eval.bootstrap: expected at least 1, found 0"),
    ("eval: {gallery: -1}", "eval.gallery: expected at least 0, found -1"),
    ("preflight: {prompts: many}", "preflight.prompts: expected int, found 'many'"),
    ("preflight: {batch_size: 0}", "preflight.batch_size: expected at least 1, found 0"),
    ("signal: {max_rounds: 0}", "signal.max_rounds: expected at least 1, found 0"),
    ("seed: -1", "seed: expected at least 0, found -1"),  # numpy takes none
    ("seed: 4294967296", "seed: expected below 4294967296, found 4294967296"),
    ("early_stop_patience: 0", "early_stop_patience: expected at least 1, found 0"),
    ("keep_completions_every: -1", "keep_completions_every: expected at least 0, found -1"),
    ("run_dir: ''", "run_dir: expected a text that is not empty, found ''"),
    ("reward: {weights: {iou: .nan}}", "reward.weights.iou: expected a finite number, found nan"),
    ("reward: {weights: {iou: .inf}}", "reward.weights.iou: expected a finite number, found inf"),
    ("reward: {weights: {iou: true}}", "reward.weights.iou: expected float, found True"),
    ("reward: {iou: {threshold: 0.0}}", "reward.iou.threshold: expected above 0, found 0.0"),
    ("reward: {iou: {threshold: 1.5}}", "reward.iou.threshold: expected at most 1, found 1.5"),
    ("reward: {length: {soft_tokens: 2000}}", "reward.length: expected soft_tokens from 1 to"),
    ("reward: {gate: loose}", "reward.gate: expected one of strict, released, found 'loose'"),
    ("grpo: {learning_rate: .nan}", "expected a text or a number, found nan at learning_rate"),
    ('run_dir: "a\\ud800"', "run_dir: expected a text, found 'a\\ud800'"),
    ('grpo: {report_to: ["a\\0"]}', "a number, found 'a\\x00' at report_to[0]"),
    ("run_dir: !!binary aGk=", "run_dir: expected str, found b'hi'"),
    ("1: 2", "unknown key 1"),
    ("grpo: {1: 2}", "grpo.1: expected str, found 1"),
    ("grpo: [1]", "grpo: expected dict, found [1]"),
    ("seed: 1.0", "seed: expected int, found 1.0"),
    ("seed: '1'", "seed: expected int, found '1'"),
    ("policy: {freeze_vision: 1}", "policy.freeze_vision: expected bool, found 1"),
    ("policy: {freeze_vision: 'no'}", "policy.freeze_vision: expected bool, found 'no'"),
    ("prompt: {template: [choice]}", "prompt.template: expected one of choice, inspect, mmad, "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), CONTRADICTIONS)
def test_values_that_no_run_can_use_are_refused_by_name(tmp_path, text, found):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text + "\n"))
    assert found in str(caught.value) and "\n" not in str(caught.value)


def test_values_out_of_range_are_told_at_once_across_sections(tmp_path):
    text = "seed: -1\npolicy: {max_pixels: 0}\neval: {limit: 0}\nreward: {iou: {siou: 1}}\n"
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text), ["data.limit=0"])
    assert str(caught.value).count(": expected ") == 4
    assert "unknown key reward.iou.siou (nearest: " in str(caught.value)


def sections(kind=Config, name=""):
    """Every section by its name, those that are off by default too."""
    yield name, kind
    for key, hint in get_type_hints(kind, include_extras=True).items():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and hasattr(part, "__pydantic_fields__"):
                yield from sections(part, f"{name}.{key}".strip("."))


@pytest.mark.parametrize(("name", "kind"), sections())
def test_every_number_has_a_range(name, kind):
    """Or is one of these, of which every one makes sense."""
    free = {"data.shuffle_options", "eval.shuffle_options"}
    free |= {"reward.weights", "reward.table", "reward.terms.weight"}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        if re.search(r"\b(int|float)\b", str(hint)) and f"{name}.{key}" not in free:
            bounded = re.search(r"\b(Ge|Gt|Le|Lt)\(", str(hint))
            assert bounded, f"{name}.{key}: {hint}"


def test_the_limits_themselves_are_taken(tmp_path):
    text = (
        "seed: 4294967295\nkeep_completions_every: 0\ngrpo: {max_grad_norm: .inf}\n"
        "policy: {min_pixels: 784, max_pixels: 784, lora: {r: 1, dropout: 0}}\n"
        "prompt: {references: 0}\neval: {gallery: 0, bootstrap: 1}\n"
    )
    config = load_config(write(tmp_path, text))
    assert config.policy.lora == LoraSection(r=1, dropout=0.0)
    assert isinstance(config.policy.lora.dropout, float)  # 0 is taken for 0.0


def test_a_section_made_in_python_is_checked_like_one_that_is_read():
    with pytest.raises(InputError) as caught:
        EvalConfig(batch_size=0, limit=True, batchsize=3)
    message = str(caught.value)
    assert message.startswith("expected values that EvalConfig takes, found unknown key")
    assert "\n" not in message
    assert "unknown key batchsize (nearest: batch_size)" in message
    assert "batch_size: expected at least 1, found 0" in message
    assert "limit: expected int, found True" in message
    with pytest.raises(InputError, match="expected max_pixels of at least min_pixels 9"):
        replace(PolicyConfig(), min_pixels=9, max_pixels=8)


def test_sections_are_frozen_dataclasses():
    config = Config(policy=PolicyConfig(path="a", lora=LoraSection(r=2)))
    assert asdict(config)["policy"]["lora"]["r"] == 2
    assert replace(config, seed=3).policy is config.policy
    with pytest.raises(AttributeError):
        config.seed = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config
    # Positional arguments stay in the order of the fields.
    assert SegmentationConfig("box").kind == "box" and RewardConfig("paper").preset == "paper"
    assert IouOptions("giou", 0.5) == IouOptions(similarity="giou", threshold=0.5)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("seed: 1  # naïve\n".encode("cp1252"), "in UTF-8 at .*found byte 0xef in line 1; save"),
        ("seed: 1\n".encode("utf-16-le"), "as in UTF-16 without its mark; save the file as UTF-8"),
        (b"seed: \x00\n", "expected a readable config"),
        (b"a: &x [*x]\n", "nested too deeply, or inside themselves"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"seed: " + b"9" * 5000, "expected a readable config"),
        (b"seed: 1\nseed: 2\n", "duplicate key seed"),
        (b"seed: ${nothing}\n", "'nothing' not found"),
        (b"seed: 1\n---\nseed: 2\n", "expected a single document"),
    ],
)
def test_unreadable_files_are_one_line(tmp_path, content, found):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding):
    path = tmp_path / "c.yaml"
    path.write_bytes("seed: 7  # naïve\n".encode(encoding))
    assert load_config(path).seed == 7


@pytest.mark.parametrize("override", ["seed=[", "seed=*x", "seed=!!python/name:os.system", "=3"])
def test_an_override_that_is_no_yaml_is_named(tmp_path, override):
    with pytest.raises(InputError, match=r"section\.key=value") as caught:
        load_config(write(tmp_path, "seed: 1\n"), [override])
    assert repr(override) in str(caught.value) and "\n" not in str(caught.value)


def test_references_reach_across_files_and_overrides(tmp_path):
    write(tmp_path, "seed: 1\nrun_dir: runs/${seed}\n", "base.yaml")
    path = write(tmp_path, "base: base.yaml\n")
    assert load_config(path, ["seed=5"]).run_dir == "runs/5"


@pytest.mark.parametrize("name", ["magnetic_tile", "deeppcb"])
def test_the_stages_of_a_quickstart_show_their_images_alike(name):
    folder = Path(__file__).parents[2] / "configs"
    sft, grpo, held = (
        load_config(folder / f"{stage}/{name}_cpu.yaml") for stage in ("sft", "grpo", "eval")
    )
    assert sft.data == grpo.data and sft.data.augment is not None
    assert sft.prompt == grpo.prompt == held.prompt
    caps = {(c.policy.min_pixels, c.policy.max_pixels) for c in (sft, grpo, held)}
    assert len(caps) == 1
    assert grpo.grpo["max_completion_length"] == held.eval.max_new_tokens


@pytest.mark.parametrize("other", [{"shared_prefix": False}, {"attention": "eager"}])
def test_chunks_of_completions_need_what_they_stand_behind(other):
    with pytest.raises(InputError, match=r"kernel than eager beside policy\.chunk_completions"):
        PolicyConfig(chunk_completions=64, **other)
