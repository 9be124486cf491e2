#!/usr/bin/env bash
# The whole loop on a laptop's CPU: benchmark, evaluation, GRPO with ROAM, evaluation, report.
#
#   ./scripts/quickstart.sh                                  synthetic images, the tiny policy as it is
#   ./scripts/quickstart.sh SOURCE ROOT                      real images: any source of `data build`,
#   ./scripts/quickstart.sh deeppcb path/to/DeepPCB          fine-tuned on them first
#
# Run again after an interruption: every stage goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --keep
export PATH="$PWD/.venv/bin:$PATH"

source_name="${1:-synthetic}"
bench="benchmarks/$source_name"
run="runs/quickstart/$source_name"
policy="data/tiny-policy"
tokens=96                                   # of a completion
[ "$source_name" != deeppcb ] || tokens=320 # a board has up to ten defects, each some 25 tokens
started=$SECONDS
say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }

if [ "$source_name" = synthetic ]; then
  say "drawing the synthetic benchmark"
  [ -d "$bench" ] || anomalyr1 data synth --out "$bench" --train 300 --test 60 --seed 0
  split="$bench"
else
  root="${2:?usage: scripts/quickstart.sh SOURCE ROOT}"
  split="$bench-split"
  say "building the benchmark from $root"
  [ -d "$bench" ] || anomalyr1 data build "$source_name" "$root" --out "$bench"
  [ -d "$split" ] || anomalyr1 data split "$bench" --out "$split" --seed 0
fi
say "checking it"
anomalyr1 data check "$split/train"
anomalyr1 data check "$split/test"

if [ "$source_name" != synthetic ]; then
  say "supervised fine-tuning"
  anomalyr1 sft configs/sft/tiny_cpu.yaml run_dir="$run/sft" data.benchmark="$split/train"
  policy="$run/sft/policy"
fi

say "evaluation before"
anomalyr1 eval configs/eval/tiny_cpu.yaml run_dir="$run/before" policy.path="$policy" eval.benchmark="$split/test" eval.max_new_tokens="$tokens"
say "GRPO with the ROAM reward"
anomalyr1 train configs/grpo/tiny_cpu.yaml run_dir="$run" policy.path="$policy" data.benchmark="$split/train" grpo.max_completion_length="$tokens"
say "evaluation after"
anomalyr1 eval configs/eval/tiny_cpu.yaml run_dir="$run" policy.path="$run/policy" eval.benchmark="$split/test" eval.max_new_tokens="$tokens"
say "scores"
anomalyr1 score "$run/predictions.jsonl"
say "done"
echo "report: $PWD/$run/report.html"
