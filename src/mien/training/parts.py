"""The parts of a training: network, moving average, optimiser, learning rate, step.

Shapes: B faces of a batch, C channels, H height, W width, K expressions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mien.models import create, initial_weights
from mien.models.device import on_device
from mien.recipe import Recipe
from mien.training.averaging import MovingAverage
from mien.training.distributed import Team
from mien.training.growing import refuse_fixed_size
from mien.training.machine import autocast_type
from mien.training.optim import LearningRate, build_optimizer
from mien.training.seeds import Stream, stream_seed
from mien.training.step import Step, captured


class Parts:
    """The parts of a recipe's training, and their state for resuming.

    Attributes:
        network: the network, on the device, channels last in memory.
        spread: the network computed by all processes of the team together.
        init: the source of the initial weights, for environment.json; None if they are random.
        start: a copy of the initial weights, if a share of them is kept.
        average: the moving average of the network, if the recipe has one.
        dtype: the type for autocast.
        optimizer, rate, step: optimiser, learning-rate schedule and training step.
    """

    def __init__(
        self, recipe: Recipe, objective: nn.Module, steps: int, team: Team, *, begun: bool
    ) -> None:
        """Build all parts.

        Args:
            recipe: the settings.
            objective: the loss.
            steps: number of steps of the whole training.
            team: the processes.
            begun: the run has a saved state, so the weights of `recipe.init` are not read.

        Raises:
            InputError: a part of the recipe cannot be built, or initial weights cannot be read.
        """
        self._recipe = recipe
        self._team = team
        torch.manual_seed(stream_seed(recipe.seed, Stream.WEIGHTS))
        network = create(
            recipe.model.name, recipe.input, len(recipe.expressions), recipe.model.options
        )
        self.init: dict[str, Any] | None = None
        if recipe.init is not None and not begun:
            initial = initial_weights(
                recipe.init, recipe.input, recipe.model.name, recipe.model.options
            )
            self.init = initial.start(network, recipe.expressions)
        self.dtype = autocast_type(recipe.precision, team.device, network)
        self.network = team.synchronised(on_device(network, team.device))
        refuse_fixed_size(recipe, self.network)
        self.start: dict[str, Tensor] | None = None
        if recipe.init_share:
            self.start = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.spread = team.spread(self.network)
        self.average: MovingAverage | None = None
        if recipe.ema is not None:
            buffers = recipe.precise_norm is None
            self.average = MovingAverage(self.network, recipe.ema, buffers=buffers)
        self.optimizer = build_optimizer(recipe.optimizer, self.network)
        self.rate = LearningRate(recipe.schedule, self.optimizer, steps)
        self.step = Step(
            self.network, self.spread, objective, self.optimizer, self.dtype, recipe.clip_norm
        )

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the moving average if there is one, else the network."""
        return self.network if self.average is None else self.average.module

    def capture(self) -> str | None:
        """Compile the passes of a step; returns the reason in one sentence if it is not possible, else None."""
        if self._team.size > 1:
            return "--compile works with one process only; training continues without it"
        self.network.train()
        inputs_BCHW = torch.zeros(self._recipe.batch_size, *self._recipe.input.shape)
        inputs_BCHW = inputs_BCHW.to(self._team.device, memory_format=torch.channels_last)
        self.step.forward, fault = captured(self.spread, inputs_BCHW, self.dtype)
        return fault

    def move(self, inputs_BCHW: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step; returns the loss, float32 (), and the logits, float32 (B, K), from before the step."""
        loss, logits_BK = self.step(inputs_BCHW, targets)
        self.rate.after_step()
        if self.average is not None:
            self.average.update()
        return loss, logits_BK

    def state_dict(self) -> dict[str, Any]:
        """The state that the next step depends on, without the progress (see `TrainingState`)."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "start": self.start,
            "scale": self.step.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.start = state["start"]
        self.step.load_state_dict(state.get("scale") or {})
