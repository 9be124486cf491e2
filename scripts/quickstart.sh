#!/usr/bin/env bash
# The whole loop on a laptop's CPU: benchmark, cold start, evaluation, GRPO with ROAM, evaluation, report.
#
#   ./scripts/quickstart.sh                                  synthetic images
#   ./scripts/quickstart.sh synthetic "" SEED                with another seed than 0
#   ./scripts/quickstart.sh SOURCE ROOT [SEED]               real images: any source of `data build`
#   ./scripts/quickstart.sh deeppcb path/to/DeepPCB
#
# What is particular to a source stands in configs/{sft,grpo,eval}/SOURCE_cpu.yaml, where there is one. SEED (0)
# decides the split and the training.
# Run again after an interruption: every stage goes on where it stopped. What is made of a source has its name, so another
# ROOT of the same source is refused until that is gone.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --keep
export PATH="$PWD/.venv/bin:$PATH"

source_name="${1:-synthetic}"
bench="benchmarks/$source_name"
run="runs/quickstart/$source_name"
policy="data/tiny-policy"
seed="${3:-0}"
[ "$seed" = 0 ] || run="$run-$seed"
config() {
  local own="configs/$1/${source_name//-/_}_cpu.yaml"
  if [ -f "$own" ]; then echo "$own"; else echo "configs/$1/tiny_cpu.yaml"; fi
}
finished() {  # a benchmark or a split, written whole
  [ ! -e "$1/.unfinished" ] && { [ -f "$1/mmad.json" ] || [ -f "$1/test/mmad.json" ]; }
}
same_root() {  # refuse another ROOT than the one that the benchmark, its splits and runs were made from
  local record="$bench.root" now="$1" left=() path
  now="$(realpath -- "$1" 2>/dev/null)" || now="$1"
  for path in "$bench-split" "$bench-split"-[0-9]* "runs/quickstart/$source_name" "runs/quickstart/$source_name"-[0-9]*; do
    [ ! -e "$path" ] || left+=("$path")
  done
  ! finished "$bench" || left+=("$bench")
  if [ "${#left[@]}" = 0 ]; then
    mkdir -p "$(dirname "$record")"
    printf '%s\n' "$now" > "$record"
  elif [ ! -f "$record" ]; then
    echo "${left[*]}: made from a ROOT that is not written down; taken as it is"
  elif [ "$(cat "$record")" != "$now" ]; then
    echo "expected ROOT $(cat "$record"), which $bench was built from, found $now;" \
      "to begin with another, rm -r ${left[*]}" >&2
    exit 2
  fi
}
started=$SECONDS
say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }

if [ "$source_name" = synthetic ]; then
  say "drawing the synthetic benchmark"
  finished "$bench" || anomalyr1 data synth --out "$bench" --train 300 --test 240 --seed 0
  split="$bench"
else
  root="${2:?usage: scripts/quickstart.sh SOURCE ROOT}"
  split="$bench-split"
  [ "$seed" = 0 ] || split="$split-$seed"
  cut=(--gradient)   # the tiny policy reads from colour where in the image a defect is
  # A defect has 30 of a board's 640 pixels: pieces of it, each with the same piece of its template, and painted where it
  # differs from that, which the tiny policy's tower does not see by itself.
  [ "$source_name" != deeppcb ] || cut+=(--differences --tile 160 --set normal_share=0)
  say "building the benchmark from $root"
  same_root "$root"
  finished "$bench" || anomalyr1 data build "$source_name" "$root" --out "$bench" "${cut[@]}"
  finished "$split" || anomalyr1 data split "$bench" --out "$split" --seed "$seed"
fi
say "checking it"
anomalyr1 data check "$split/train"
anomalyr1 data check "$split/test"

say "cold start: supervised fine-tuning"
cold="$run/sft" cold_seed="$seed"
if [ "$source_name" = synthetic ]; then   # one start for all seeds of GRPO
  cold=runs/quickstart/synthetic/sft cold_seed=0
fi
anomalyr1 sft "$(config sft)" seed="$cold_seed" run_dir="$cold" policy.path="$policy" data.benchmark="$split/train"
policy="$cold/policy"

say "evaluation before"
anomalyr1 eval "$(config eval)" seed="$seed" run_dir="$run/before" policy.path="$policy" eval.benchmark="$split/test"
say "GRPO with the ROAM reward"
anomalyr1 train "$(config grpo)" seed="$seed" run_dir="$run" policy.path="$policy" data.benchmark="$split/train"
say "evaluation after"
anomalyr1 eval "$(config eval)" seed="$seed" run_dir="$run" policy.path="$run/policy" eval.benchmark="$split/test"
say "scores"
anomalyr1 score "$run/predictions.jsonl"
say "what GRPO changed"
anomalyr1 compare "$run"
