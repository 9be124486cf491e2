#!/usr/bin/env bash
# Makes .venv and installs everything this machine can run. Safe to run again: nothing is repeated
# unless pyproject.toml has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
stamp=.venv/installed
wanted="$(cksum pyproject.toml scripts/setup.sh)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

"$python" - <<'CHECK'
import sys
if sys.version_info < (3, 10):
    sys.exit(f"expected Python 3.10 or newer, found {sys.version.split()[0]}; set PYTHON=/path/to/python3")
CHECK
[ -x .venv/bin/python ] || "$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

skipped=()
echo "setup: torch and torchvision"
pip install --quiet torch torchvision 2> >(grep -v '^WARNING: Location' >&2 || true)
echo "setup: anomalyr1 with its tools"
pip install --quiet --editable ".[dev,demo,elpv,tensorboard]" 2> >(grep -v '^WARNING: Location' >&2 || true)

has_cuda="$(.venv/bin/python -c 'import torch; print(int(torch.cuda.is_available()))')"
echo "setup: sam2"
# sam2 builds against the torch that is installed; its CUDA extension only speeds up hole filling.
pip install --quiet "setuptools>=77" wheel ninja 2> >(grep -v '^WARNING: Location' >&2 || true)
SAM2_BUILD_CUDA="$has_cuda" pip install --quiet --no-build-isolation "sam2>=1.1" 2> >(grep -v '^WARNING: Location' >&2 || true) \
  || skipped+=("sam2: it did not build here; segmentation.kind=sam2 will say so, grabcut and box work")
echo "setup: deepspeed"
pip install --quiet "deepspeed>=0.16" 2> >(grep -v '^WARNING: Location' >&2 || true) \
  || skipped+=("deepspeed: it did not build here; the zero2 and zero3 launch configs need it")
for line in "${skipped[@]}"; do echo "setup: skipped $line"; done
echo "$wanted" > "$stamp"
echo "setup: done, activate with  source .venv/bin/activate"
