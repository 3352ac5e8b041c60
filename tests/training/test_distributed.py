"""Several processes train as one: the same losses, one voice, an end with its cause."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from mien.errors import InputError
from mien.training.distributed import FollowedError, Team, _Group, join

from .conftest import reliability

CPU = torch.device("cpu")


@pytest.fixture
def group(monkeypatch):
    """A group of one, whose parts are those of several."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield _Group(CPU, 0, 1)
    distributed.destroy_process_group()


def test_a_process_that_torchrun_did_not_start_is_alone():
    team = join("cpu")
    assert (type(team), team.rank, team.size, team.device) == (Team, 0, 1, CPU)
    network = nn.Linear(2, 2)
    assert team.spread(network) is network


def test_a_spread_network_answers_and_learns_as_the_network_does(group):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    inputs_BF, labels_B = torch.randn(7, 6), torch.randint(3, (7,))
    gradients = []
    for module in (network, group.spread(network)):
        network.zero_grad()
        nn.functional.cross_entropy(module(inputs_BF), labels_B).backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_last_row_is_repeated_where_a_share_lacks_one_and_counts_once(group, monkeypatch):
    """The middle one of three processes that share four faces has one face and its copy."""
    shares = []

    class Watched(nn.Linear):
        def forward(self, inputs):
            shares.append(inputs)
            return super().forward(inputs)

    spread = group.spread(Watched(1, 1))
    gathered = []

    def gather(rows, team):
        gathered.append(rows)
        return torch.cat([rows] * 3)

    monkeypatch.setattr("mien.training.distributed._Gather.apply", gather)
    for rank in range(3):
        monkeypatch.setattr(spread, "_team", _Group(CPU, rank, 3))
        assert len(spread(torch.arange(4.0)[:, None])) == 4
    assert [share[:, 0].tolist() for share in shares] == [[0, 1], [2, 3], [3, 3]]


def test_frozen_parameters_stay_without_a_gradient(group):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    spread = group.spread(network)
    for frozen in (True, False):
        network[0].requires_grad_(not frozen)
        network.zero_grad(set_to_none=True)
        spread(torch.ones(2, 2)).sum().backward()
        assert (network[0].weight.grad is None) is frozen
        assert network[1].weight.grad is not None


def test_what_the_first_process_refuses_it_says_itself(group):
    def refuse():
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        group.lead(refuse)
    assert group.lead(lambda: 3) == 3
    follower = _Group(CPU, 1, 2).alike(InputError("no"))
    assert isinstance(follower, FollowedError)
    assert (str(follower), follower.exit_code) == ("", 2)


def test_a_lost_connection_is_one_sentence_and_other_errors_are_not_touched(group):
    with pytest.raises(Exception, match="another process of this training ended"), group.bound():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
    with pytest.raises(FollowedError), _Group(CPU, 1, 2).bound():
        raise distributed.DistBackendError("NCCL")
    with pytest.raises(RuntimeError, match="shapes"), group.bound():
        raise RuntimeError("shapes")


@pytest.mark.slow
def test_two_and_three_processes_agree_with_one_and_resume_exactly():
    found = reliability("processes")
    for figures in found["agreement"].values():
        plain = figures["no batch statistics"]
        assert max(plain.values()) < 1e-5
        assert figures["bits_that_resuming_changes"] == 0
        assert figures["validation_loss_of_the_same_weights_is_the_same"]


def torchrun(out: Path, epochs: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["-m", "mien", "train", "basic-cnn", "--data", "synthetic:64", "--device", "cpu"]
    command += ["--set", f"epochs={epochs}", "--set", "model.width=0.25", "--out", str(out)]
    return subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_under_torchrun_one_process_writes_and_speaks(tmp_path):
    done = torchrun(tmp_path / "run", 1)
    said, messages = done.communicate(timeout=300)
    assert done.returncode == 0, messages
    assert json.loads(said)["runs"][0]["epochs"] == 1
    assert messages.count("epoch   1/1") == 1
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["processes"] == 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in /proc")
def test_a_dead_worker_ends_the_job_with_its_cause(tmp_path):
    job = torchrun(tmp_path / "run", 1000)
    until = time.monotonic() + 300
    while not (tmp_path / "run" / "last" / "state.pt").exists():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < until
        time.sleep(0.2)
    second = next(
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit()
        and f"\nPPid:\t{job.pid}\n" in (folder / "status").read_text()
        and b"\0RANK=1\0" in (folder / "environ").read_bytes()
    )
    os.kill(second, signal.SIGKILL)
    _, messages = job.communicate(timeout=120)
    assert job.returncode == 1
    assert "Signal 9 (SIGKILL)" in messages
    assert (tmp_path / "run" / "last" / "state.pt").exists()
