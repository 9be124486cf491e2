#!/usr/bin/env bash
# What a machine with a GPU has to show: installs, runs `pytest -m gpu`, holds the shared prefix to
# stock on the whole Qwen2.5-VL-3B with random weights and times both, compares peak memory with
# `anomalyr1 plan`, runs a user's commands (sft, train, killed and resumed, eval), makes two steps
# with vLLM beside the trainer where it installs, and writes acceptance.json and acceptance.md.
#
#   ./scripts/gpu_acceptance.sh                       installs first; then at most sixteen minutes
#   ./scripts/gpu_acceptance.sh --no-install          with the environment that is there ($PYTHON)
#   ./scripts/gpu_acceptance.sh --no-install --quick  two and a half minutes
#
# Every part has a time limit and its own process; what cannot run is named with its reason. Other
# arguments: python scripts/gpu_acceptance.py --help
set -euo pipefail
cd "$(dirname "$0")/.."
arguments=()
install=yes
for argument in "$@"; do
  if [ "$argument" = --no-install ]; then install=no; else arguments+=("$argument"); fi
done
[ "$install" = no ] || ./scripts/setup.sh --vllm ||
  echo "gpu_acceptance: not everything was installed (why stands above); going on with what is there" >&2
python=.venv/bin/python
[ -x "$python" ] || python=python3
exec "${PYTHON:-$python}" scripts/gpu_acceptance.py ${arguments[@]+"${arguments[@]}"}
