"""The recipes for Slurm and Kubernetes are what the tools themselves make or take."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from dask_jobqueue import SLURMCluster

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "examples" / "cluster"
TOOLS = Path(sys.executable).parent


def test_the_worker_of_slurm_is_the_one_that_dask_jobqueue_makes() -> None:
    options = {"dashboard": False, "dashboard_address": ":0", "host": "127.0.0.1"}
    with SLURMCluster(
        cores=1,
        processes=1,
        memory="15GB",
        walltime="04:00:00",
        job_name="dip-worker",
        job_extra_directives=["--gres=gpu:1", "--requeue"],
        job_script_prologue=["export OMP_NUM_THREADS=1"],
        python="python",
        local_directory='"${TMPDIR:-/tmp}"',
        death_timeout=600,
        worker_extra_args=["--no-dashboard"],
        scheduler_options=options,
    ) as cluster:
        made = cluster.job_script().replace(cluster.scheduler_address, '"$SCHEDULER"')
    made = made.replace("dummy-name", '"$SLURM_JOB_ID"')
    written = (CLUSTER / "slurm_worker.sh").read_text()
    assert made.strip() == written.strip()


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = sorted(CLUSTER.glob("*.sh"))
    assert len(scripts) == 2
    done = subprocess.run([TOOLS / "shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_kubernetes_takes_every_object_of_the_recipe() -> None:
    file = CLUSTER / "kubernetes.yaml"
    check = [TOOLS / "kubernetes-validate", "--strict", file]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(file.read_text())}
    service = objects["Service", "dip-scheduler"]
    scheduler = objects["Deployment", "dip-scheduler"]
    assert service["spec"]["selector"].items() <= (
        scheduler["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_modules_and_options_of_the_recipes_exist() -> None:
    objects = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text())
    pods = [o["spec"]["template"]["spec"] for o in objects if "template" in o["spec"]]
    commands = [container["command"] for pod in pods for container in pod["containers"]]
    worker = (CLUSTER / "slurm_worker.sh").read_text().splitlines()[-1]
    commands.append(shlex.split(worker))
    used = {(c[2], word) for c in commands if c[0] == "python" for word in c if word[:2] == "--"}
    for module in {module for module, _ in used}:
        told = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True)
        for option in (option for of, option in used if of == module):
            assert option in told.stdout.decode(), (module, option)
