"""What a result says of where it comes from."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from commands import REPOSITORY


def test_the_commit_is_that_of_this_code_and_of_nobody_elses(tmp_path):
    """Installed into an environment inside another repository, and then kept there itself."""
    packages = tmp_path / ".venv/packages"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "anomalyr1", packages / "anomalyr1", ignore=ignored)
    (tmp_path / "theirs.txt").write_text("theirs")

    def git(*words):
        own = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
        subprocess.run(["git", *own, *words], cwd=tmp_path, check=True, capture_output=True)

    def told() -> str:
        asked = "from anomalyr1.provenance import commit; print(commit())"
        command = [sys.executable, "-B", "-c", asked]
        done = subprocess.run(command, cwd=packages, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert told() == "None"
    git("init")
    git("add", "theirs.txt")
    git("commit", "-m", "theirs")
    assert told() == "None"
    git("add", "--force", ".")
    git("commit", "-m", "this code too")
    assert re.fullmatch("[0-9a-f]{40}", told())
    (tmp_path / "theirs.txt").write_text("changed")
    assert re.fullmatch(r"[0-9a-f]{40}\+changes", told())
