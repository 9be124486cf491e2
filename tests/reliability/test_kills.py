"""SIGKILL at random moments: each verb goes on to what an undisturbed run leaves, and nothing else.

`pytest -m slow tests/reliability/test_kills.py` kills each verb twenty times.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from killing import Verb, forking, kill

TIMES, SEED = 20, 14


NAMES = (
    *("data build", "data build --tile", "mask"),
    *("predict --watch", "eval", "sft", "train", "ablate"),
)


def killed(verb: Verb, folder: Path, times: int) -> None:
    with forking(folder, verb.torch) as process:
        found = kill(process, verb, folder / "work", times=times, seed=SEED)
        left = [str(path.relative_to(folder)) for path in process.temporary.rglob("*")]
    print(f"{found.seconds:.1f} s, {found.steps} writing steps, {found.killed} killed")
    print("\n".join([*found.faults, *left]))
    assert found.faults == ()
    assert left == []
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_verb_goes_on_to_what_an_undisturbed_run_leaves(verbs, name, tmp_path):
    killed(verbs[name], tmp_path, TIMES)


def test_all_verbs_are_killed(verbs):
    assert set(verbs) == set(NAMES)


@pytest.mark.parametrize(("name", "times"), [("data build", 2), ("mask", 1)])
def test_a_few_kills(verbs, name, times, tmp_path):
    killed(verbs[name], tmp_path, times)
