#!/usr/bin/env bash
# Installs what is missing, then runs every check and every test that is not marked slow, gpu or vllm.
# Arguments go to pytest:  ./scripts/test.sh -k parsing
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --keep
export PATH="$PWD/.venv/bin:$PATH"
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
# The models of the tests are too small for a second thread, which would wait more than it works.
export OMP_NUM_THREADS=1

ruff check .
ruff format --check .
mypy
lint-imports
# -c: an option such as `--real-data DIR` would else move the place where pytest looks for it.
python -m pytest -c pyproject.toml -m "not slow and not gpu and not vllm" "$@"
