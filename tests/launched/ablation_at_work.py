"""An ablation of two runs at once that wait for ever: what a test kills.

python tests/launched/ablation_at_work.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from made_runs import program, run
from rich.console import Console

from anomalyr1.ablation.launch import execute
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.run_lock import run_lock

# A stage with a process of its own, as a launcher has; both say where they are.
WAIT = """
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(inner.pid, flush=True)
time.sleep(600)
"""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    runs = [run(folder, name, 0, ("train", program(WAIT))) for name in ("a", "b", "c")]
    answers = Answers({(one.variant, one.seed): one.folder for one in runs})
    with run_lock(folder):
        execute(runs, [{}, {}], answers, Console(), lambda results: None)
