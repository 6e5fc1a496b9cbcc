#!/usr/bin/env bash
# Measures a profile with WORKERS jobs of Slurm:  ./slurm.sh 8 --profile paper --device cuda
# Run it where nodes can reach it, in a terminal that stays open; run again, it resumes.
set -euo pipefail
workers=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
: "${DIP_HOME:?set DIP_HOME to a folder that all nodes see}"
mkdir -p "$DIP_HOME"

rm -f "$DIP_HOME/scheduler.json"
python -m distributed.cli.dask_scheduler --port 0 --no-dashboard \
  --scheduler-file "$DIP_HOME/scheduler.json" &
scheduler=$!
jobs=""
trap 'kill "$scheduler"; if [ -n "$jobs" ]; then scancel "$jobs"; fi' EXIT
until [ -s "$DIP_HOME/scheduler.json" ]; do sleep 1; done
SCHEDULER=$(python -c 'import json, sys; print(json.load(sys.stdin)["address"])' \
  <"$DIP_HOME/scheduler.json")
export SCHEDULER

jobs=$(sbatch --parsable --array="1-$workers" "$here/slurm_worker.sh")
dip measure --scheduler "$SCHEDULER" "$@"
