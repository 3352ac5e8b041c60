"""Learning rates over time, against their formulas."""

import math

import pytest
import torch

from mien.errors import InputError
from mien.input_spec import InputSpec
from mien.models import create
from mien.recipe import Optimizer, Schedule
from mien.training.optim import LearningRate, build_optimizer, freeze_backbone


def rates(schedule, steps=100, lr=0.1):
    optimizer = build_optimizer(Optimizer(lr=lr), torch.nn.Linear(2, 2))
    rate = LearningRate(schedule, optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(rate.current)
        optimizer.step()
        rate.after_step()
    return seen


def test_constant_stays():
    assert set(rates(Schedule())) == {0.1}


def test_cosine_is_half_a_cosine_down_to_its_final_share():
    expected = [
        0.001 + (0.1 - 0.001) * (1 + math.cos(math.pi * step / 100)) / 2 for step in range(100)
    ]
    assert rates(Schedule(name="cosine", final=0.01)) == pytest.approx(expected)


def test_one_cycle_rises_for_its_warmup_and_ends_at_its_final_share():
    seen = rates(Schedule(name="one-cycle", warmup=0.3, final=0.01))
    assert seen[0] == pytest.approx(0.1 / 25)
    assert seen.index(max(seen)) in (29, 30)
    assert max(seen) == pytest.approx(0.1, rel=0.01)
    assert seen[-1] == pytest.approx(0.001, rel=0.05)


def test_one_cycle_survives_a_warmup_of_exactly_one_step():
    assert len(rates(Schedule(name="one-cycle", warmup=0.1), steps=9)) == 9


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_plateau_halves_after_more_than_its_patience_without_improvement(monitor):
    optimizer = build_optimizer(Optimizer(lr=0.1), torch.nn.Linear(2, 2))
    rate = LearningRate(Schedule(name="plateau", monitor=monitor, patience=2), optimizer, 100)
    seen = []
    for _ in range(7):
        rate.after_epoch(validation_loss=1.0, validation_accuracy=0.5)
        seen.append(rate.current)
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025])


def test_a_rate_goes_on_from_its_state():
    optimizer = build_optimizer(Optimizer(lr=0.1), torch.nn.Linear(2, 2))
    schedule = Schedule(name="one-cycle")
    rate = LearningRate(schedule, optimizer, 10)
    for _ in range(4):
        optimizer.step()
        rate.after_step()
    other = build_optimizer(Optimizer(lr=0.1), torch.nn.Linear(2, 2))
    resumed = LearningRate(schedule, other, 10)
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(rate.state_dict())
    for _ in range(6):
        assert resumed.current == rate.current
        for each, its_rate in ((optimizer, rate), (other, resumed)):
            each.step()
            its_rate.after_step()


def small():
    return torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    )


@pytest.mark.parametrize("name", ["constant", "plateau", "cosine", "one-cycle"])
def test_the_backbone_s_rate_stays_its_share_of_the_head_s(name):
    schedule = Schedule(name=name, patience=0, final=0.01)
    expected = rates(schedule)
    optimizer = build_optimizer(Optimizer(lr=0.1, backbone_lr=0.25), small())
    rate = LearningRate(schedule, optimizer, 100)
    for step in range(100):
        head, backbone = optimizer.param_groups
        assert [p.numel() for p in head["params"]] == [6, 2]
        assert [p.numel() for p in backbone["params"]] == [6, 3, 3, 3]
        assert backbone["lr"] == pytest.approx(0.25 * head["lr"], rel=1e-12)
        if name != "plateau":
            assert rate.current == pytest.approx(expected[step])
        optimizer.step()
        rate.after_step()
        if name == "plateau" and step % 10 == 0:
            rate.after_epoch(validation_loss=1.0, validation_accuracy=0.5)


def test_without_a_share_all_parameters_are_one_group():
    assert len(build_optimizer(Optimizer(), small()).param_groups) == 1


def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics():
    network = small().train()
    inputs = torch.randn(8, 2)
    for frozen in (True, False):
        before = network[1].running_mean.clone()
        freeze_backbone(network, frozen)
        network(inputs).sum().backward()
        assert torch.equal(before, network[1].running_mean) is frozen
        assert (network[0].weight.grad is None) is frozen
        assert network[3].weight.grad is not None


def test_a_network_without_a_head_cannot_be_split():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    with pytest.raises(InputError, match="no linear layer"):
        build_optimizer(Optimizer(backbone_lr=0.1), network)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_lowers_a_loss(name):
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 1)
    optimizer = build_optimizer(Optimizer(name=name, lr=0.05), network)
    inputs = torch.randn(32, 4)
    losses = []
    for _ in range(20):
        loss = (network(inputs) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("name", "lr"), [("adam", 0.01), ("adamw", 0.01), ("muon", 0.01), ("sgd", 0.2)]
)
def test_every_optimizer_learns_and_its_rate_moves(name, lr):
    network = create("mien-s", InputSpec(), 7, {"width": 0.5, "depth": 1})
    optimizer = build_optimizer(Optimizer(name=name, lr=lr, backbone_lr=0.5), network)
    rate = LearningRate(Schedule(name="cosine"), optimizer, 12)
    faces, labels = torch.rand(7, 1, 48, 48), torch.arange(7)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(faces), labels)
        loss.backward()
        optimizer.step()
        rate.after_step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert optimizer.param_groups[1]["lr"] == pytest.approx(rate.current / 2)
