#!/usr/bin/env bash

#SBATCH -J dip-worker
#SBATCH -n 1
#SBATCH --cpus-per-task=1
#SBATCH --mem=14G
#SBATCH -t 04:00:00
#SBATCH --gres=gpu:1
#SBATCH --requeue
export OMP_NUM_THREADS=1
python -m distributed.cli.dask_worker "$SCHEDULER" --name "$SLURM_JOB_ID" --nthreads 1 --memory-limit 13.97GiB --nanny --death-timeout 600 --local-directory "${TMPDIR:-/tmp}" --no-dashboard
