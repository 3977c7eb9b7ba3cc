"""Two processes that train one network do what one process with the whole batch does."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dwpose.training.checkpoint import load_state
from dwpose.training.journal import read_log

WORKER = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of what one process made here, and of what two made under torchrun."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node=2", str(WORKER), str(two)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(WORKER))["main"](one)
    finally:
        torch.set_num_threads(threads)
    return one, two


@pytest.mark.parametrize("kind", ["alone", "stage_one", "stage_two"])
def test_two_processes_equal_one(kind, runs):
    one, two = (read_log(folder / kind / "log.jsonl") for folder in runs)
    assert len(one) == len(two) == 3
    assert one[0]["loss"] > 0
    # The first loss knows no rounding of earlier steps.
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], rel=1e-5)
    for a, b in zip(one, two, strict=True):
        for name in (n for n in a if n.startswith("loss") or n == "gradient"):
            assert b[name] == pytest.approx(a[name], rel=1e-3), name
    states = [load_state(folder / kind / "state.safetensors")[0] for folder in runs]
    for name in (n for n in states[0] if "running" in n):
        torch.testing.assert_close(states[1][name], states[0][name], rtol=1e-3, atol=1e-4)
