from pathlib import Path

import pytest

from anomalyr1.config import Config, dump_config, load_config
from anomalyr1.errors import InputError


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_base_is_inherited_and_overrides_come_last(tmp_path):
    write(tmp_path, "seed: 1\npolicy: {path: a, max_pixels: 100}\n", "base.yaml")
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
