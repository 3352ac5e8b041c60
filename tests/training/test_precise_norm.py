"""BatchNorm statistics of plain faces, in what is kept and nowhere else."""

from dataclasses import replace

import torch
from torch import nn

from mien.training import Augment, ModelSpec, train
from mien.training.averaging import with_precise_norm

from .test_loop import identical, weights


def test_statistics_are_the_mean_of_the_batches_without_dropout():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    network[2].running_mean.fill_(7)
    batches = [torch.randn(5, 1, 8, 8) + shift for shift in (0.0, 2.0)]
    precise = with_precise_norm(network, batches)
    outputs = [network[1](batch).detach().transpose(0, 1).flatten(1) for batch in batches]
    mean = torch.stack([output.mean(dim=1) for output in outputs]).mean(dim=0)
    variance = torch.stack([output.var(dim=1) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(precise[2].running_mean, mean)
    torch.testing.assert_close(precise[2].running_var, variance)
    assert not any(module.training for module in precise.modules())
    assert network.training
    assert network[2].running_mean.tolist() == [7, 7, 7]


def test_a_network_without_batchnorm_is_not_even_asked():
    def never():
        raise AssertionError
        yield

    network = nn.Sequential(nn.Linear(2, 2))
    assert identical(with_precise_norm(network, never()).state_dict(), network.state_dict())


def test_what_is_kept_has_them_and_training_goes_its_way(recipe, splits, tmp_path):
    moving = replace(
        recipe,
        model=ModelSpec("four-block-cnn", {"width": 0.25}),
        augment=Augment(erase=1.0),
        ema=0.9,
        epochs=1,
    )
    runs = [
        train(one, splits.train, splits.validation, tmp_path / name, device="cpu")
        for name, one in (("moving", moving), ("precise", replace(moving, precise_norm=100)))
    ]
    assert identical(*(weights(run, "last") for run in runs))
    kept, precise = (weights(run) for run in runs)
    changed = {name for name in kept if not torch.equal(kept[name], precise[name])}
    assert changed
    assert all("running_" in name or "num_batches" in name for name in changed)
