#!/usr/bin/env bash
# GRPO over several nodes under Slurm; every task is one node, accelerate starts its processes.
#
#   mkdir -p runs   (Slurm opens the log before the script runs)
#   sbatch --nodes 2 --gpus-per-node 8 scripts/train_multinode.sh CONFIG [KEY=VALUE ...]
#   LAUNCHER=torchrun sbatch ... scripts/train_multinode.sh CONFIG grpo.deepspeed=configs/deepspeed/zero3.json
#
# Submit it again after a node was lost: training goes on from the last whole checkpoint. With
# --requeue and --signal Slurm does so by itself. Run outside of Slurm, it prints what it would run.
#SBATCH --job-name=anomalyr1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --requeue
#SBATCH --output=runs/slurm-%j.out
set -euo pipefail
# Slurm copies the script elsewhere before it runs it; the repository is where it was submitted from.
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
config="${1:?usage: scripts/train_multinode.sh CONFIG [KEY=VALUE ...]}"
shift
[ -f "$config" ] || { echo "expected a config at $config, found no such file" >&2; exit 2; }

if [ -n "${SLURM_JOB_ID:-}" ] && [ -z "${SLURM_GPUS_ON_NODE:-}" ]; then
  echo "expected GPUs of Slurm, found none asked for; submit with --gpus-per-node 8, or as many as a node has" >&2
  exit 2
fi
nodes="${SLURM_JOB_NUM_NODES:-1}"
gpus="${SLURM_GPUS_ON_NODE:-8}"
port="${MASTER_PORT:-29500}"
if [ -n "${SLURM_JOB_NODELIST:-}" ]; then
  master="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
else
  master=localhost
fi
launch="${ACCELERATE_CONFIG:-configs/accelerate/multinode_zero3.yaml}"

case "${LAUNCHER:-accelerate}" in
  accelerate)
    command=(accelerate launch --config_file "$launch" --num_machines "$nodes"
      --num_processes "$((nodes * gpus))" --main_process_ip "$master" --main_process_port "$port"
      --machine_rank "\$SLURM_NODEID") ;;
  torchrun)
    command=(torchrun --nnodes "$nodes" --nproc_per_node "$gpus" --rdzv_backend c10d
      --rdzv_id "${SLURM_JOB_ID:-0}" --rdzv_endpoint "$master:$port") ;;
  *) echo "expected LAUNCHER=accelerate or torchrun, found ${LAUNCHER}" >&2; exit 2 ;;
esac
# The rank of a node is known on the node only, so its shell fills it in.
line="source .venv/bin/activate && ${command[*]} -m anomalyr1 train $(printf '%q ' "$config" "$@")"
if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "not under Slurm; each node would run:"
  echo "$line"
  exit 0
fi
mkdir -p runs
exec srun --kill-on-bad-exit=1 bash -c "$line"
