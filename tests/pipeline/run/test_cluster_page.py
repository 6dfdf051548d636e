"""docs/how-to/songs/cluster.md: what can be run of it is run, and the rest is held against the tools that it is for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from songbag_store import SongStore
from tests.support.audio import chirp, write
from tests.support.clusters import importable
from tests.support.command import songbag
from tests.support.patience import PATIENCE_S

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "songs" / "cluster.md").read_text()


def section(title: str, language: str) -> list[str]:
    """Return the blocks of a section in one language."""
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run_shell(script: str, folder: Path) -> str:
    """Run a script with all that it starts in the background; return what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    out, err = folder / "stdout.log", folder / "stderr.log"
    with out.open("w") as stdout, err.open("w") as stderr:
        shell = subprocess.Popen(
            ["bash", "-ec", script],
            cwd=folder,
            env=os.environ | importable() | {"PATH": path},
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            shell.wait(PATIENCE_S)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    assert shell.returncode == 0, err.read_text()
    return out.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        write(tmp_path / "songs" / f"{number}.wav", chirp(6.0, seed=number))
    return tmp_path


def test_a_cluster_by_hand_is_made_as_the_page_says(folder: Path) -> None:
    blocks = section("By hand", "bash")
    assert len(blocks) == 2
    assert "4 songs stored, 0 failed" in run_shell("\n".join(blocks), folder)


def test_a_cluster_that_speaks_tls_is_made_as_the_page_says(folder: Path) -> None:
    blocks = section("TLS", "bash")
    assert len(blocks) == 3
    assert "4 songs stored, 0 failed" in run_shell("\n".join(blocks), folder)
    assert "tls://" in (folder / "cluster.json").read_text()
    assert "Traceback" not in (folder / "stderr.log").read_text()
    assert len(SongStore.open(folder / "store").windows("3.wav")) == 1


def test_the_jobs_that_the_page_gives_slurm_are_workers_of_one_thread(tmp_path: Path) -> None:
    (block,) = section("SLURM", "python")
    block = block.partition("cluster.scale")[0].replace('"port": 8786', '"port": 0')
    script = f"if __name__ == '__main__':\n{block.replace(chr(10), chr(10) + '  ')}\n  print(cluster.job_script())\n"
    script = script.replace("\nfrom", "\n  from", 1)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "#SBATCH --cpus-per-task=32" in done.stdout
    assert "#SBATCH -t 04:00:00" in done.stdout
    assert "--nthreads 1 --memory-limit 0.93GiB --nworkers 32 --nanny" in done.stdout


def test_the_commands_in_the_pods_of_the_page_exist_with_their_options() -> None:
    (text,) = section("Kubernetes", "yaml")
    cluster, job = yaml.safe_load_all(text)
    worker, scheduler = (cluster["spec"][part]["spec"] for part in ("worker", "scheduler"))
    pods = [worker, scheduler, job["spec"]["template"]["spec"]]
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for container in (containers[0], containers[2]):
        assert container["volumeMounts"][0]["name"] == pods[0]["volumes"][0]["name"]
    # Not `args`: the image begins with another command.
    dask = [container["command"] for container in containers[:2]]
    for program, *arguments in dask:
        checked = [sys.executable, "-m", program, *arguments, "--help"]
        subprocess.run(checked, capture_output=True, timeout=PATIENCE_S, check=True)
    program, *arguments = containers[2]["command"]
    assert (program, songbag(*arguments, "--help").returncode) == ("songbag", 0)
    address = (
        f"tcp://{cluster['metadata']['name']}-scheduler:{cluster['spec']['scheduler']['service']['ports'][0]['port']}"
    )
    assert address in arguments
