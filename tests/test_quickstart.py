"""What scripts/quickstart.sh makes of a source, and what it takes for made; without training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from commands import REPOSITORY
from pictures import noise

# All verbs of `data` are the real ones; the first after them ends the script.
VERB = f"""#!/bin/sh
[ "$1" = data ] || {{ echo "then $*"; exit 7; }}
echo "at work: $2"
exec {sys.executable} -m anomalyr1 "$@"
"""


@pytest.fixture
def start(tmp_path):
    """Runs the script in a clone, and tells its status, output and complaints."""
    for name in ("configs", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    script = tmp_path / "scripts/quickstart.sh"
    whole = script.read_text()
    assert whole.count("./scripts/setup.sh --keep\n") == 1
    script.write_text(whole.replace("./scripts/setup.sh --keep\n", ""))
    verb = tmp_path / ".venv/bin/anomalyr1"
    verb.parent.mkdir(parents=True)
    verb.write_text(VERB)
    verb.chmod(0o755)

    def run(*arguments):
        done = subprocess.run(
            [script, *map(str, arguments)],
            capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    run.folder = tmp_path
    return run


@pytest.fixture
def parts(tmp_path):
    """Two folders of parts."""
    for number, folder in enumerate(("first", "second")):
        for index in range(14):
            path = tmp_path / folder / ("good" if index < 8 else "hole") / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(100 * number + index, 64, 64).save(path)
    return tmp_path / "first", tmp_path / "second"


def test_another_root_of_a_source_is_refused_and_a_killed_build_made_anew(start, parts):
    first, second = parts
    made = start.folder / "benchmarks/folder"
    made.mkdir(parents=True)
    (made / ".unfinished").write_text("A command was killed.\n")
    status, said, fault = start("folder", first)
    assert status == 7 and "at work: build" in said and "at work: split" in said, said + fault
    assert (made / "mmad.json").is_file() and (made.parent / "folder-split/test").is_dir()

    status, said, fault = start("folder", f"{first}/../first", 1)  # the same, by another name
    assert status == 7 and "at work: build" not in said, fault
    assert (made.parent / "folder-split-1").is_dir()

    status, said, fault = start("folder", second)
    assert status == 2 and "at work" not in said
    assert f"expected ROOT {first}" in fault and f"found {second};" in fault
    assert fault.count("\n") == 1
    for path in fault.strip().rpartition("rm -r ")[2].split():
        shutil.rmtree(start.folder / path)
    status, said, fault = start("folder", second)
    assert status == 7 and "at work: build" in said and "at work: split" in said, said + fault


def test_a_benchmark_made_by_hand_is_taken_and_said_to_be(start, parts):
    made = start.folder / "benchmarks/folder"
    verb = [sys.executable, "-m", "anomalyr1", "data", "build", "folder", parts[0], "--out", made]
    subprocess.run(verb, cwd=REPOSITORY, check=True, capture_output=True)
    status, said, fault = start("folder", parts[0])
    assert status == 7 and "at work: build" not in said, fault
    assert "made from a ROOT that is not written down; taken as it is" in said
