"""The moving average follows as torch's own does, and takes over its state."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mien.training.averaging import MovingAverage


def moved(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter)
        network[1].running_mean += 1


def test_it_is_torch_s_average_step_by_step_and_goes_on_from_its_state():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    ours = MovingAverage(network, 0.9, buffers=True)
    for _ in range(3):
        moved(network)
        theirs.update_parameters(network)
        ours.update()
    late = MovingAverage(network, 0.9, buffers=True)
    late.load_state_dict(theirs.state_dict())
    moved(network)
    theirs.update_parameters(network)
    for average in (ours, late):
        average.update()
        assert average.state_dict().keys() == theirs.state_dict().keys()
        for name, value in theirs.module.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(average.module.state_dict()[name], value)
